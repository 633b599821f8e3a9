//! What a shell and `man` are told about the command line: `weir completions` and `weir man`.

use super::Cli;
use super::output::print;
use anyhow::Context;
use clap::CommandFactory;
use std::path::PathBuf;
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
            let written = clap_mangen::generate_to(Cli::command(), &folder);
            written.with_context(|| format!("pages cannot be written into {}", folder.display()))?;
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            print(&String::from_utf8(text)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
