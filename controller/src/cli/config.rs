//! The command line's configuration: contexts, each a server and a token by name. One YAML file of the user's own.

use super::destination::base_url;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;

/// Most bytes of the file.
const MOST: u64 = 1 << 20;

/// How long another is waited for that changes the file.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    /// The context of commands that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current_context: Option<String>,
    #[serde(default)]
    pub(crate) contexts: Vec<Context>,
}

/// A server, and the token for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) name: String,
    /// Scheme, host and port.
    pub(crate) server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// Certificates to trust it by, a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<String>,
}

/// A context's name, as an argument.
pub(crate) fn context_name(text: &str) -> Result<String, String> {
    if text.is_empty()
        || text.len() > 63
        || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        return Err("names of contexts have 1 to 63 letters, digits, dashes, underscores and dots".to_owned());
    }
    Ok(text.to_owned())
}

impl Config {
    /// Reads the file; one that is not there says nothing.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let Some(path) = path() else { return Ok(Self::default()) };
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be opened", path.display())),
        };
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, MOST + 1), &mut text)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        if text.len() as u64 > MOST {
            bail!("{} is longer than a configuration can be", path.display());
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // Where it is wrong and nothing of what stands there: that may be a token.
        let config: Self = serde_saphyr::from_str(&text).map_err(|error| {
            let at = error.location().map(|at| format!(", line {} column {}", at.line(), at.column()));
            anyhow::anyhow!("{}{}: not as `weir context set` writes it", path.display(), at.unwrap_or_default())
        })?;
        for context in &config.contexts {
            base_url(&context.server).map_err(|error| {
                anyhow::anyhow!("{}: the server of context {}: {error}", path.display(), context.name)
            })?;
        }
        Ok(config)
    }

    /// The context of this name, or the current one.
    ///
    /// # Errors
    /// When there is none of this name; when the current one is none.
    pub(crate) fn context(&self, name: Option<&str>) -> anyhow::Result<Option<&Context>> {
        let Some(name) = name.or(self.current_context.as_deref()) else { return Ok(None) };
        let found = self.contexts.iter().find(|context| context.name == name);
        found.map(Some).with_context(|| format!("there is no context {name}; {}", self.known()))
    }

    /// Which contexts there are, in words.
    pub(crate) fn known(&self) -> String {
        let names: Vec<&str> = self.contexts.iter().map(|context| context.name.as_str()).collect();
        if names.is_empty() {
            "`weir context set NAME --server URL` makes one".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        }
    }

    /// Writes the file, for its user's eyes alone, as a whole or not at all. Where it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self) -> anyhow::Result<PathBuf> {
        let path = path().context("no home directory is known: name the file with WEIR_CONFIG")?;
        // Where a link leads; and never in place of a device, such as /dev/null for no file at all.
        let path = path.canonicalize().unwrap_or(path);
        if path.exists() && !path.is_file() {
            bail!("{} is no file: contexts are kept in one that WEIR_CONFIG names", path.display());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let part = path.with_extension(format!("part-{}", std::process::id()));
        let written = (|| {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&part)?;
            file.write_all(serde_saphyr::to_string(self).map_err(std::io::Error::other)?.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, &path)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        written.with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}

/// That nobody else changes the file meanwhile: what two write at once would lose what one of them wrote. Over when it is dropped, or the
/// process ends.
#[derive(Debug)]
pub(crate) struct Alone {
    /// The folder, since the file is another one after every write; `None` where folders cannot be locked.
    _folder: Option<std::fs::File>,
}

impl Alone {
    /// Waits until it is so.
    ///
    /// # Errors
    /// When somebody else changes it for too long.
    pub(crate) fn wait() -> anyhow::Result<Self> {
        let Some(path) = path() else { return Ok(Self { _folder: None }) };
        let path = path.canonicalize().unwrap_or(path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| std::path::Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        // Where it cannot be opened it cannot be written into either, which is said then.
        let Ok(opened) = std::fs::File::open(folder) else { return Ok(Self { _folder: None }) };
        let begin = std::time::Instant::now();
        loop {
            match opened.try_lock() {
                Ok(()) => return Ok(Self { _folder: Some(opened) }),
                Err(std::fs::TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    bail!("another program keeps {} locked: try again when it has ended", folder.display())
                }
                Err(std::fs::TryLockError::Error(_)) => return Ok(Self { _folder: None }),
            }
        }
    }
}

/// Where the file is: `WEIR_CONFIG`, or `weir/config.yaml` where the user's configuration is.
pub(crate) fn path() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("WEIR_CONFIG").or_else(|| {
        let base = named("XDG_CONFIG_HOME").or_else(|| named("HOME").map(|home| home.join(".config")))?;
        Some(base.join("weir").join("config.yaml"))
    })
}
