//! Parts of documents that are made: what stands between two markers.

use std::ops::Range;

/// A document lacks a marker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// There is no such line.
    #[error("there is no line `{0}`")]
    Missing(String),
    /// They stand the wrong way round.
    #[error("`{0}` stands before `{1}`")]
    Order(String, String),
}

/// Replaces what is between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
///
/// # Errors
/// When the document lacks a marker.
pub fn between_markers(document: &str, name: &str, text: &str) -> Result<String, MarkerError> {
    let place = place(document, name)?;
    let (before, after) = (document.get(..place.start), document.get(place.end..));
    Ok(format!("{}\n{text}\n{}", before.unwrap_or_default(), after.unwrap_or_default()))
}

fn place(document: &str, name: &str) -> Result<Range<usize>, MarkerError> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let from = document.find(&begin).ok_or_else(|| MarkerError::Missing(begin.clone()))? + begin.len();
    let to = document.find(&end).ok_or_else(|| MarkerError::Missing(end.clone()))?;
    if to < from { Err(MarkerError::Order(end, begin)) } else { Ok(from..to) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let document = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        assert_eq!(between_markers(document, "x", "new").unwrap(), document.replace("old", "new"));
        assert!(between_markers("nothing", "x", "new").is_err());
        assert!(between_markers("<!-- x: end --><!-- x: begin -->", "x", "new").is_err());
    }
}
