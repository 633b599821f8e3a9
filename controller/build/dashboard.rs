//! Puts the built dashboard into the binary: every file of `ui/dist`. Without any the binary says how to build it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Writes the list of files, each to be included, where the server includes it.
pub(crate) fn write() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let built = root.join("../ui/dist");
    // Kept in the repository, so that it is always there to be looked at.
    println!("cargo:rerun-if-changed={}", built.display());
    println!("cargo:rerun-if-changed=build");
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
    Ok(())
}

/// Not what keeps the folder in the repository.
#[expect(clippy::ptr_arg, reason = "a filter's argument")]
fn is_asset(path: &PathBuf) -> bool {
    path.is_file() && path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
}
