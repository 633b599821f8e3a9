//! A fingerprint of all that the dashboard is made of: `ui/scripts/sources.mjs` writes the same beside what it made. Equal: what is there was made of
//! these sources.

use std::path::Path;

/// What it is made of, beside every file of `src`.
pub(crate) const BESIDE: [&str; 4] = ["package-lock.json", "package.json", "scripts/build.mjs", "tsconfig.json"];

/// FNV-1a, 64 bits, of each path under `root` and what is in it, in the order of paths.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn fingerprint(root: &Path) -> std::io::Result<String> {
    let mut paths = Vec::new();
    within(root, "src", &mut paths)?;
    paths.extend(BESIDE.iter().filter(|path| root.join(path).exists()).map(|path| (*path).to_owned()));
    paths.sort();
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for path in paths {
        take(path.as_bytes());
        take(&[0]);
        take(&std::fs::read(root.join(&path))?);
        take(&[0]);
    }
    Ok(format!("{hash:016x}"))
}

fn within(root: &Path, folder: &str, paths: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            within(root, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}
