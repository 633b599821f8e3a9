//! Options of every command, given before it: `weir --server URL get` is `weir get --server URL`.

use std::ffi::OsString;

/// Those that stand anywhere: every command that has one of them means the same by it. (`--token-file` is none: to `weir serve` it is another.)
const LONG: [&str; 5] = ["--server", "--token-value", "--context", "--ca-file", "--output"];

/// The arguments with such options that come before the command put behind it, in front of what follows a `--`.
pub(super) fn behind(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut all: Vec<OsString> = arguments.next().into_iter().collect();
    let mut ahead = Vec::new();
    let mut rest = arguments.peekable();
    while let Some(text) = rest.peek().map(|argument| argument.to_string_lossy().into_owned()) {
        let (whole, alone) = (text.split_once('=').map(|(name, _)| name), text.as_str());
        let joined = whole.is_some_and(|name| LONG.contains(&name)) || (alone.starts_with("-o") && alone.len() > 2);
        if !joined && alone != "-o" && !LONG.contains(&alone) {
            break;
        }
        ahead.extend(rest.next());
        if !joined {
            ahead.extend(rest.next());
        }
    }
    let rest: Vec<OsString> = rest.collect();
    // Nothing follows: they are said to be wrong where they stand.
    if rest.is_empty() {
        all.extend(ahead);
        return all;
    }
    let end = rest.iter().position(|argument| argument == "--").unwrap_or(rest.len());
    let mut rest = rest.into_iter();
    all.extend(rest.by_ref().take(end));
    all.extend(ahead);
    all.extend(rest);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_before_the_command_go_behind_it_and_nothing_else_moves() {
        let moved = |line: &str| {
            let all = behind(line.split(' ').map(OsString::from));
            all.into_iter().map(|argument| argument.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        for (line, expected) in [
            ("weir", "weir"),
            ("weir get -o json", "weir get -o json"),
            ("weir --server http://a get x", "weir get x --server http://a"),
            ("weir -o json --context=b token list", "weir token list -o json --context=b"),
            ("weir -ojson get", "weir get -ojson"),
            ("weir --output yaml get -- x", "weir get --output yaml -- x"),
            ("weir --server http://a", "weir --server http://a"),
            ("weir --context", "weir --context"),
            ("weir --help", "weir --help"),
            ("weir --token-file t serve", "weir --token-file t serve"),
            ("weir --ca-file f --version", "weir --version --ca-file f"),
        ] {
            assert_eq!(moved(line), expected, "{line}");
        }
    }
}
