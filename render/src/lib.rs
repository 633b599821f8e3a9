//! What a mesh or a stand-alone Envoy needs for an experiment, as resources to be kept in Git.
//!
//! Pure: an experiment, options and the user's own resources in, resources out. Owns the types of what is printed and
//! the rules of extending what is already there; files, servers and the command line are the controller's.

mod check;
pub mod envoy;
pub mod host;
pub mod istio;
pub mod merge;
pub mod names;
pub mod options;
pub mod resource;
pub mod wasm;
pub mod yaml;

pub use options::{Delivery, Failure, Options, Place};
pub use resource::{Printed, Rendered};

/// Why nothing was rendered; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The document or the options do not say enough, or say what cannot be.
    #[error("{0}")]
    Options(String),
    /// What is to be extended cannot be.
    #[error("{0}")]
    Merge(String),
    /// Something cannot be written.
    #[error("this cannot be written as YAML: {0}")]
    Unwritable(String),
}

impl Refused {
    pub(crate) fn options(text: impl Into<String>) -> Self {
        Self::Options(text.into())
    }

    pub(crate) fn merge(text: impl Into<String>) -> Self {
        Self::Merge(text.into())
    }
}
