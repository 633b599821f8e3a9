//! A JSON reader for what the filter reads, behind serde's derived code.
//!
//! Smaller than serde_json's: an object is an object and never an array of its fields, so that half of the derived code is never
//! compiled; and no type that the filter reads has a float. It accepts what serde_json accepts but for that, and gives the same
//! values (a property).

mod values;

use serde::de::{self, Error as _, Expected, Unexpected};
use std::borrow::Cow;
use std::fmt;

/// Most objects and arrays in each other.
const DEEPEST: u8 = 127;

/// What is wrong with a text; where is the reader's to say.
#[derive(Debug)]
pub(super) struct Problem(pub(super) String);

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        unexpected("type", found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        unexpected("value", found, expected)
    }
}

/// As serde would say it, but for floats, whose formatting would be 13 KB.
fn unexpected(what: &str, found: Unexpected<'_>, expected: &dyn Expected) -> Problem {
    let found = match found {
        Unexpected::Unsigned(number) => {
            return Problem(format!("invalid {what}: integer `{number}`, expected {expected}"));
        }
        Unexpected::Signed(number) => {
            return Problem(format!("invalid {what}: integer `{number}`, expected {expected}"));
        }
        Unexpected::Other(text) => text,
        Unexpected::Bool(_) => "boolean",
        Unexpected::Map => "map",
        Unexpected::Seq => "sequence",
        Unexpected::Str(_) => "string",
        _ => "value",
    };
    Problem(format!("invalid {what}: {found}, expected {expected}"))
}

fn problem<T>(text: &str) -> Result<T, Problem> {
    Err(Problem(text.to_owned()))
}

/// A text, and how far it has been read.
pub(super) struct Json<'a> {
    text: &'a [u8],
    pub(super) at: usize,
    depth: u8,
}

impl<'a> Json<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Whether nothing is left.
    pub(super) fn ended(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Result<(), Problem> {
        match self.peek() {
            None => Ok(()),
            Some(_) => {
                self.at += 1;
                problem("trailing characters")
            }
        }
    }

    /// The next byte that is no space, not yet read.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Reads this byte if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<(), Problem> {
        if self.take(byte) { Ok(()) } else { self.fail(char::from(byte)) }
    }

    /// Something else is next.
    fn fail<T>(&mut self, expected: char) -> Result<T, Problem> {
        if self.peek().is_none() {
            return problem("EOF while parsing an object");
        }
        self.at += 1;
        Err(Problem(format!("expected `{expected}`")))
    }

    fn literal(&mut self, rest: &[u8]) -> Result<(), Problem> {
        if self.text.get(self.at..).is_some_and(|text| text.starts_with(rest)) {
            self.at += rest.len();
            return Ok(());
        }
        problem("expected a value")
    }

    /// The string whose opening quote has been read.
    fn string(&mut self) -> Result<Cow<'a, str>, Problem> {
        let begin = self.at;
        let mut owned = Vec::new();
        let mut from = begin;
        loop {
            match self.text.get(self.at) {
                None => return problem("EOF while parsing a string"),
                Some(b'"') => break,
                Some(b'\\') => {
                    owned.extend_from_slice(self.text.get(from..self.at).unwrap_or_default());
                    self.at += 1;
                    let mut bytes = [0; 4];
                    owned.extend_from_slice(self.escaped()?.encode_utf8(&mut bytes).as_bytes());
                    from = self.at;
                }
                Some(..b' ') => {
                    self.at += 1;
                    return problem("control character in a string");
                }
                Some(_) => self.at += 1,
            }
        }
        let rest = self.text.get(from..self.at).unwrap_or_default();
        self.at += 1;
        let text = if owned.is_empty() {
            std::str::from_utf8(rest).ok().map(Cow::Borrowed)
        } else {
            owned.extend_from_slice(rest);
            String::from_utf8(owned).ok().map(Cow::Owned)
        };
        text.map_or_else(|| problem("a string that is not UTF-8"), Ok)
    }

    /// What an escape stands for whose backslash has been read.
    fn escaped(&mut self) -> Result<char, Problem> {
        let Some(letter) = self.text.get(self.at) else { return problem("EOF while parsing a string") };
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(*letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hexadecimal()?;
                let code = if (0xd800..0xdc00).contains(&high) {
                    self.literal(b"\\u")?;
                    let low = self.hexadecimal()?.wrapping_sub(0xdc00);
                    if low < 0x400 { 0x1_0000 + ((high - 0xd800) << 10) + low } else { high }
                } else {
                    high
                };
                return char::from_u32(code).map_or_else(|| problem("half a character in a string"), Ok);
            }
            _ => return problem("unknown escape in a string"),
        })
    }

    fn hexadecimal(&mut self) -> Result<u32, Problem> {
        let mut number = 0;
        for _ in 0..4 {
            let Some(byte) = self.text.get(self.at) else { return problem("EOF while parsing a string") };
            self.at += 1;
            let Some(digit) = char::from(*byte).to_digit(16) else { return problem("no hexadecimal digit") };
            number = number << 4 | digit;
        }
        Ok(number)
    }

    /// A number, of which the first byte is known to be one's.
    pub(super) fn number(&mut self) -> Result<Number, Problem> {
        let mut number = Number { negative: self.take(b'-'), digits: 0, exponent: 0, whole: true };
        let zero = self.text.get(self.at) == Some(&b'0');
        let digits = self.digits(&mut number, 0)?;
        if zero && digits > 1 {
            return problem("invalid number");
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            number.whole = false;
            self.digits(&mut number, -1)?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            number.whole = false;
            let negative = self.text.get(self.at) == Some(&b'-');
            self.at += usize::from(negative || self.text.get(self.at) == Some(&b'+'));
            let mut exponent = Number { negative, digits: 0, exponent: 0, whole: true };
            self.digits(&mut exponent, 0)?;
            let exponent = i32::try_from(exponent.digits).map_or(i32::MAX, |size| if negative { -size } else { size });
            number.exponent = number.exponent.saturating_add(exponent);
        }
        Ok(number)
    }

    /// Appends digits, each of which changes the exponent by so much. Answers how many there are: at least one.
    fn digits(&mut self, number: &mut Number, exponent: i32) -> Result<usize, Problem> {
        let begin = self.at;
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            let more = number.digits.checked_mul(10).and_then(|digits| digits.checked_add(u64::from(digit - b'0')));
            match more {
                // What follows a digit that found no room finds none.
                Some(more) if number.exponent <= 0 => {
                    number.digits = more;
                    number.exponent = number.exponent.saturating_add(exponent);
                }
                _ => {
                    number.whole = false;
                    number.exponent = number.exponent.saturating_add(exponent + 1);
                }
            }
            self.at += 1;
        }
        match self.at - begin {
            0 => problem(if self.ended() { "EOF while parsing a number" } else { "invalid number" }),
            digits => Ok(digits),
        }
    }

    /// Reads a value of any kind, for what it is.
    fn skip(&mut self) -> Result<(), Problem> {
        match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                self.enter()?;
                let (mut first, close) = (true, open + 2);
                while self.another(&mut first, close)? {
                    if open == b'{' {
                        self.expect(b'"')?;
                        self.string()?;
                        self.expect(b':')?;
                    }
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'"') => {
                self.at += 1;
                self.string().map(drop)
            }
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(_) => {
                self.at += 1;
                problem("expected a value")
            }
            None => problem("EOF while parsing a value"),
        }
    }

    /// Reads what is next, which is not what was expected.
    #[inline(never)]
    fn mismatch(&mut self, expected: &dyn Expected) -> Problem {
        let (begin, next) = (self.at, self.peek());
        if let Some(open @ (b'{' | b'[')) = next {
            self.at += 1;
            return Problem::invalid_type(if open == b'{' { Unexpected::Map } else { Unexpected::Seq }, expected);
        }
        if let Err(problem) = self.skip() {
            return problem;
        }
        // As it is written.
        let text = String::from_utf8_lossy(self.text.get(begin..self.at).unwrap_or_default().trim_ascii_start());
        let found = match next {
            Some(b'"') => format!("string {text}"),
            Some(b't' | b'f') => format!("boolean `{text}`"),
            Some(b'n') => text.into_owned(),
            _ if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => format!("integer `{text}`"),
            _ => format!("floating point `{text}`"),
        };
        Problem::invalid_type(Unexpected::Other(&found), expected)
    }

    fn enter(&mut self) -> Result<(), Problem> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEEPEST { problem("recursion limit exceeded") } else { Ok(()) }
    }

    /// Whether another item follows in an object or array that closes with this byte; reads the comma, or that byte.
    fn another(&mut self, first: &mut bool, close: u8) -> Result<bool, Problem> {
        if self.take(close) {
            self.depth -= 1;
            return Ok(false);
        }
        if !std::mem::replace(first, false) {
            if close == b']' && self.peek().is_none() {
                return problem("EOF while parsing a list");
            }
            self.expect(b',')?;
            if self.peek() == Some(close) {
                self.at += 1;
                return problem("trailing comma");
            }
        }
        Ok(true)
    }
}

/// A number as it is written.
pub(super) struct Number {
    negative: bool,
    /// As many of its first digits as have room.
    digits: u64,
    /// The power of ten that they are multiplied by.
    exponent: i32,
    /// Whether it is written without fraction and exponent, and all its digits had room.
    whole: bool,
}

impl Number {
    /// As a float, to within a few units of the last place.
    #[expect(clippy::cast_precision_loss, reason = "as near as a float comes")]
    pub(super) fn to_f64(&self) -> f64 {
        let mut value = self.digits as f64;
        // More than this is infinite, or zero.
        for _ in 0..self.exponent.unsigned_abs().min(400) {
            value = if self.exponent < 0 { value / 10.0 } else { value * 10.0 };
        }
        if self.negative { -value } else { value }
    }
}
