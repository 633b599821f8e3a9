//! Puts the built dashboard into the binary: every file of `ui/dist`. Without any the binary says how to build it, and so does the build; it also says
//! when what was built is older than its sources.

use super::sources;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub(crate) fn write() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let built = root.join("../ui/dist");
    // Kept in the repository, so that it is always there to be looked at.
    println!("cargo:rerun-if-changed={}", built.display());
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&built) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_asset).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    let mut code = "static ASSETS: &[Asset] = &[".to_owned();
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        write!(code, "Asset {{ name: {name:?}, body: include_bytes!({:?}) }}, ", std::fs::canonicalize(file)?)?;
    }
    code.push_str("];\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("dashboard.rs"), code)?;
    warn(&root.join("../ui"), files.iter().any(|file| file.ends_with("index.html")));
    Ok(())
}

/// Says what is missing of the dashboard, or that what is there is not of these sources.
fn warn(ui: &Path, built: bool) {
    // Where there are no sources, nothing can be made of them.
    let Ok(now) = sources::fingerprint(ui) else { return };
    for path in sources::BESIDE.iter().chain(&["src", "dist/.sources"]).map(|path| ui.join(path)) {
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    let made_of = std::fs::read_to_string(ui.join("dist/.sources")).unwrap_or_default();
    if !built {
        println!(
            "cargo:warning=the dashboard is not built, so this `weir` has none: `make ui` (needs Node 18 or newer and \
             npm), then build again"
        );
    } else if made_of.trim() != now {
        println!(
            "cargo:warning=ui/dist is older than its sources, so this `weir` has the dashboard as it was: `make ui`, \
             then build again"
        );
    }
}

/// Not what keeps the folder in the repository.
#[expect(clippy::ptr_arg, reason = "a filter's argument")]
fn is_asset(path: &PathBuf) -> bool {
    path.is_file() && path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
}
