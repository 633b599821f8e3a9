//! Checks of a plan's parts, and where in the plan they stand.

use super::{InvalidPlan, MAX_VALUE, is_header_name};
use crate::cookie::{GeneratedCookie, MAX_ATTRIBUTES, is_name};

/// Collects where in the document a check stands.
pub(crate) struct Check {
    pub(super) path: String,
}

impl Check {
    pub(crate) fn at(&self, part: &str) -> Self {
        Self { path: self.join(part) }
    }

    /// An item of a list.
    #[inline(never)]
    pub(crate) fn item(&self, list: &str, index: usize) -> Self {
        self.at(&format!("{list}[{index}]"))
    }

    #[inline(never)]
    fn join(&self, part: &str) -> String {
        if self.path.is_empty() { part.to_owned() } else { format!("{}.{part}", self.path) }
    }

    pub(crate) fn that(&self, holds: bool, part: &str, problem: impl FnOnce() -> String) -> Result<(), InvalidPlan> {
        if holds { Ok(()) } else { Err(self.wrong(part, problem())) }
    }

    /// Apart from what is checked, as there are many checks.
    #[cold]
    #[inline(never)]
    fn wrong(&self, part: &str, problem: String) -> InvalidPlan {
        InvalidPlan { path: self.join(part), problem }
    }

    pub(crate) fn count(&self, count: usize, least: usize, most: usize, part: &str) -> Result<(), InvalidPlan> {
        self.that((least..=most).contains(&count), part, || format!("{count} entries; {least} to {most} are allowed"))
    }

    pub(crate) fn token(&self, text: &str, part: &str, longest: usize) -> Result<(), InvalidPlan> {
        self.that(
            !text.is_empty() && text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_graphic()),
            part,
            || format!("must be 1 to {longest} visible ASCII characters"),
        )
    }

    pub(crate) fn value(&self, text: &str, part: &str) -> Result<(), InvalidPlan> {
        self.that(
            !text.is_empty() && text.len() <= MAX_VALUE && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            part,
            || format!("must be 1 to {MAX_VALUE} printable ASCII characters"),
        )
    }

    pub(crate) fn header_name(&self, name: &str, part: &str) -> Result<(), InvalidPlan> {
        self.that(is_header_name(name), part, || {
            format!("`{name}` is not a lower-case header name (and not one that carries the request, as `host` does)")
        })
    }
    pub(crate) fn codes(&self, codes: &[(u32, u32)], part: &str) -> Result<(), InvalidPlan> {
        for (from, to) in codes {
            self.that(100 <= *from && from <= to && *to <= 599, part, || {
                format!("[{from}, {to}] is not a range of status codes within 100 to 599")
            })?;
        }
        Ok(())
    }

    pub(crate) fn cookie(&self, cookie: &GeneratedCookie, part: &str) -> Result<(), InvalidPlan> {
        let check = self.at(part);
        check.that(is_name(&cookie.name), "name", || "must be the name of a cookie".to_owned())?;
        check.that(cookie.attributes.len() <= MAX_ATTRIBUTES, "attributes", || {
            format!("has more than {MAX_ATTRIBUTES} characters")
        })?;
        check.value(&cookie.attributes, "attributes")
    }
}
