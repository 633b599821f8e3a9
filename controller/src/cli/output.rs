//! How results reach a person or a program: the format asked for, tables, numbers, and writing that survives a closed pipe.
//! Knows no experiment.

use std::io::{self, Write};

/// The format of what is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    #[value(alias = "table")]
    Text,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
}

/// `--output`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct OutputArgs {
    /// How to print.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

impl OutputArgs {
    /// Whether it is for programs: everything that is known, and nothing else on the standard output.
    pub(crate) fn structured(self) -> bool {
        self.output != Format::Text
    }
}

/// Prints text to the standard output.
///
/// # Errors
/// When it cannot be written; a reader that has gone away (`| head`) ends the process instead, quietly.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result,
    }
}

/// Prints a value for programs: JSON over several lines, or a YAML document.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn print_value(output: OutputArgs, value: &serde_json::Value) -> io::Result<()> {
    match output.output {
        Format::Yaml => print(&yaml(value)?),
        Format::Text | Format::Json => print(&format!("{value:#}\n")),
    }
}

/// Prints one of several values for programs: a line of JSON, or a YAML document that says where it begins.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn print_one_of_several(output: OutputArgs, value: &serde_json::Value) -> io::Result<()> {
    match output.output {
        Format::Yaml => print(&format!("---\n{}", yaml(value)?)),
        Format::Text | Format::Json => print(&format!("{value}\n")),
    }
}

fn yaml(value: &serde_json::Value) -> io::Result<String> {
    serde_saphyr::to_string(value).map_err(io::Error::other)
}

/// Columns of names, which lean left though a name may look like a number.
const NAMES: [&str; 10] =
    ["DAY", "NAME", "VERSION", "WITH", "CLAIM", "SERVICE", "FIRED", "VERDICTS", "OUTCOME", "FATE"];

/// A table with columns as wide as they need to be.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table, a line per row; columns of numbers lean right.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &'_ Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let shape: Vec<(usize, bool)> = (0..columns)
            .map(|column| {
                let width = self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
                let named = self.rows.first().is_some_and(|row| NAMES.contains(&cell(row, column).as_str()));
                let numeric = self.rows.iter().skip(1).all(|row| {
                    let cell = cell(row, column);
                    cell.starts_with(|c: char| c.is_ascii_digit() || "–<>≥".contains(c)) || cell.is_empty()
                });
                let numeric = numeric && !named;
                (width, numeric)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let line: Vec<String> = shape
                .iter()
                .enumerate()
                .map(|(column, (width, numeric))| {
                    let cell = cell(row, column);
                    if *numeric { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                })
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// What stands where there is nothing to say.
pub(crate) const NOTHING: &str = "–";

/// A count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate as a percentage: two decimals below 1%, one above, none for the whole and for nothing.
pub(crate) fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    if !percent.is_finite() {
        NOTHING.to_owned()
    } else if percent == 0.0 || percent == 100.0 {
        format!("{percent:.0}%")
    } else if percent < 1.0 {
        format!("{percent:.2}%")
    } else {
        format!("{percent:.1}%")
    }
}

/// An amount of whatever unit: four significant digits.
pub(crate) fn amount(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    // Zeros that nobody counts.
    if !(1e-4..1e12).contains(&value.abs()) {
        return format!("{value:.3e}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to 12")]
    let decimals = (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    format!("{value:.decimals$}")
}

/// A probability: never rounded to a certainty.
pub(crate) fn probability(value: f64) -> String {
    if value > 0.0 && value < 0.001 {
        "<0.1%".to_owned()
    } else if value > 0.999 && value < 1.0 {
        ">99.9%".to_owned()
    } else {
        percent(value)
    }
}

/// An e-value given by its natural log; its exact size does not matter once it is huge or nothing.
pub(crate) fn e_value(log_e: f64) -> String {
    let e = log_e.exp();
    if e > 10_000.0 {
        ">10,000".to_owned()
    } else if e >= 100.0 {
        format!("{e:.0}")
    } else if e >= 0.01 {
        format!("{e:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        "<0.01".to_owned()
    }
}

/// A weight in basis points.
pub(crate) fn weight(basis_points: u32) -> String {
    let (whole, part) = (basis_points / 100, basis_points % 100);
    if part == 0 { format!("{whole}%") } else { format!("{whole}.{part:02}%").replace("0%", "%") }
}

/// A latency in milliseconds.
pub(crate) fn latency(milliseconds: f64) -> String {
    if milliseconds >= 10_000.0 {
        format!("{:.1} s", milliseconds / 1_000.0)
    } else if milliseconds >= 10.0 {
        format!("{milliseconds:.0} ms")
    } else {
        format!("{milliseconds:.1} ms")
    }
}

/// A stretch of time, in its largest units: `3 s`, `4 m 10 s`, `2 h 5 m`, `3 d 4 h`.
pub(crate) fn stretch(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} m {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} m", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Unix milliseconds of this machine's clock: for ages that are shown, nothing else.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_and_numbers_lean_right() {
        let mut table = Table::new(&["VERSION", "WEIGHT", "NOTE"]);
        table.row(vec!["v1".to_owned(), "5%".to_owned(), "é".to_owned()]);
        table.row(vec!["a-long-name".to_owned(), "12.5%".to_owned()]);
        assert_eq!(table.render(), "VERSION      WEIGHT  NOTE\nv1               5%  é\na-long-name   12.5%\n");
        let mut table = Table::new(&["VERSION", "OF"]);
        table.row(vec!["1.9".to_owned(), "1,000".to_owned()]);
        assert_eq!(table.render(), "VERSION     OF\n1.9      1,000\n");
    }

    #[test]
    fn numbers_are_shown_as_people_read_them() {
        assert_eq!(["0", "999", "1,000", "12,345,678"], [0, 999, 1_000, 12_345_678].map(count).as_slice());
        assert_eq!(["0%", "0.01%", "5.1%", "100%"], [0.0, 0.000_1, 0.051, 1.0].map(percent).as_slice());
        assert_eq!(["0.1400", "12.50", "1234", "0"], [0.14, 12.5, 1_234.0, 0.0].map(amount).as_slice());
        assert_eq!(["1.234e-15", "-2.500e20"], [1.234e-15, -2.5e20].map(amount).as_slice());
        assert_eq!(["0%", "<0.1%", "42.0%", ">99.9%"], [0.0, 1e-9, 0.42, 0.999_999].map(probability).as_slice());
        let e_values = [20_f64.ln(), 1e9, 400_f64.ln(), 0.0, -9.0].map(e_value);
        assert_eq!(["20", ">10,000", "400", "1", "<0.01"], e_values.as_slice());
        assert_eq!(["0%", "0.01%", "33.34%", "12.5%", "100%"], [0, 1, 3_334, 1_250, 10_000].map(weight).as_slice());
        assert_eq!(["0.4 ms", "12 ms", "12.0 s"], [0.4, 12.3, 12_000.0].map(latency).as_slice());
        let stretches = [900, 59_000, 250_000, 7_500_000, 273_600_000].map(stretch);
        assert_eq!(["0 s", "59 s", "4 m 10 s", "2 h 5 m", "3 d 4 h"], stretches.as_slice());
    }
}
