//! What a shell and `man` are told about the command line: `weir completions` and `weir man`.

use super::Cli;
use super::output::print;
use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `weir completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(weir completions bash)                                     in this shell; in ~/.bashrc, in every one
  weir completions zsh > \"${fpath[1]}/_weir\"
  weir completions fish > ~/.config/fish/completions/weir.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: clap_complete::Shell,
}

/// Arguments of `weir man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir man | man -l -                        the page of `weir` itself
  weir man --into ~/.local/share/man/man1    a page for each command: then `man weir-apply`")]
pub(crate) struct ManArgs {
    /// Write a page for every command into this folder, which is made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// Runs `weir completions`.
pub(crate) fn completions(args: CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "weir", &mut text);
    print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `weir man`.
pub(crate) fn man(args: ManArgs) -> anyhow::Result<ExitCode> {
    match args.into {
        Some(folder) => {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("{} cannot be made: name another folder", folder.display()))?;
            let mut command = Cli::command().disable_help_subcommand(true);
            command.build();
            let written = pages(&command, &folder);
            written.with_context(|| format!("pages cannot be written into {}", folder.display()))?;
        }
        None => {
            let mut text = Vec::new();
            page(&Cli::command(), &mut text)?;
            print(&String::from_utf8(text)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A page of a command, and of each below.
fn pages(command: &Command, folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, folder)?;
    }
    let mut text = Vec::new();
    page(command, &mut text)?;
    std::fs::write(folder.join(Man::new(command.clone()).get_filename()), text)
}

/// The usual sections; what is behind a command's help under EXAMPLES and NOTES, its examples line by line as they are written.
fn page(command: &Command, into: &mut dyn Write) -> std::io::Result<()> {
    let man = Man::new(command.clone());
    man.render_title(into)?;
    man.render_name_section(into)?;
    man.render_synopsis_section(into)?;
    man.render_description_section(into)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(into)?;
    }
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(into)?;
    }
    let behind = command.get_after_long_help().or_else(|| command.get_after_help());
    behind_help(&behind.map(ToString::to_string).unwrap_or_default()).to_writer(into)?;
    if command.get_version().is_some() {
        man.render_version_section(into)?;
    }
    Ok(())
}

fn behind_help(text: &str) -> Roff {
    let mut roff = Roff::new();
    let (examples, notes): (Vec<&str>, Vec<&str>) =
        text.split("\n\n").filter(|part| !part.trim().is_empty()).partition(|part| part.starts_with("Example"));
    for part in examples.iter() {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        // `Example: a line`, or `Examples:` and lines below.
        let lines = part.split_once(':').map_or(*part, |(_, lines)| lines);
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    for (index, part) in notes.iter().enumerate() {
        roff.control(
            if index == 0 { "SH" } else { "PP" },
            if index == 0 { &["NOTES"][..] } else { &[] }.iter().copied(),
        );
        let written = part.lines().any(|line| line.starts_with(' '));
        if written {
            roff.control("nf", []);
        }
        for line in part.lines() {
            roff.text([roman(line)]);
        }
        if written {
            roff.control("fi", []);
        }
    }
    roff
}
