//! `weir context`: which servers there are, and which one commands go to.

use super::config::{Alone, Config, Context, context_name, path};
use super::destination::{base_url, certificates, read_token};
use super::output::{NOTHING, OutputArgs, Table, print, print_value};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `weir context`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir context set prod --server https://weir.example:8181 --token-file token   keeps both under a name
  weir context use prod                                                         commands go there from now on
  weir get --context test                                                       this one goes elsewhere
  weir context list                                                             which there are

They are in ~/.config/weir/config.yaml ($WEIR_CONFIG names another file), which its user alone may read. --server, --token-value and their
environment variables go before a context; its token is sent to its own server alone.")]
pub(crate) struct ContextArgs {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Debug, Subcommand)]
enum ContextCommand {
    /// Show every context; the current one is marked. Tokens are not shown.
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a context the current one.
    Use {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = context_name)]
        name: String,
    },
    /// Make or change a context. The first is the current one at once.
    #[command(after_help = "\
Examples:
  weir context set prod --server https://weir.example:8181 --token-file token
  weir token create ci --role operator | weir context set prod --token-file -      a new token, past nobody's eyes
  weir context set lab --server https://10.0.0.7:8181 --ca-file lab-ca.pem         trusted by a certificate of your own
  weir context set lab --no-token --no-ca-file                                     forgets both

What is not said stays as it is. A token is for the server that it was given for: with another --server it is to be given anew.")]
    Set {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = context_name)]
        name: String,
        /// Where `weir serve` listens.
        #[arg(long, value_name = "URL", value_parser = base_url)]
        server: Option<String>,
        /// A file with the token; `-` is the standard input. (An argument could be seen by others, and is kept by the shell.)
        #[arg(long, value_name = "FILE", conflicts_with = "no_token")]
        token_file: Option<String>,
        /// Forget its token.
        #[arg(long)]
        no_token: bool,
        /// Certificates to trust its server of `https` by, a PEM file, which stays where it is.
        #[arg(long, value_name = "FILE", conflicts_with = "no_ca_file")]
        ca_file: Option<String>,
        /// Forget it: trust what this machine trusts.
        #[arg(long)]
        no_ca_file: bool,
    },
    /// Forget a context.
    Delete {
        /// Its name.
        #[arg(value_name = "NAME", value_parser = context_name)]
        name: String,
    },
}

impl ContextArgs {
    pub(super) fn output(&self) -> Option<OutputArgs> {
        match &self.command {
            ContextCommand::List { output } => Some(*output),
            _ => None,
        }
    }
}

/// Runs `weir context`.
pub(crate) fn run(args: ContextArgs) -> anyhow::Result<ExitCode> {
    if let ContextCommand::List { output } = args.command {
        list(&Config::read()?, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    // What may be waited for, before anybody else has to wait for this one.
    let given = match &args.command {
        ContextCommand::Set { token_file: Some(file), .. } => Some(read_token(file)?),
        _ => None,
    };
    let alone = Alone::wait()?;
    let mut config = Config::read()?;
    let done = match args.command {
        ContextCommand::List { .. } => return Ok(ExitCode::SUCCESS),
        ContextCommand::Use { name } => {
            let context = config.context(Some(&name))?;
            let server = context.map(|context| context.server.clone()).unwrap_or_default();
            config.current_context = Some(name.clone());
            format!("commands go to {server} (context {name})")
        }
        ContextCommand::Set { name, server, token_file: _, no_token, ca_file, no_ca_file } => {
            let ca_file = ca_file.map(|file| absolute(&file)).transpose()?;
            let done = set(&mut config, &name, server, given, no_token)?;
            let context = config.contexts.iter_mut().find(|context| context.name == name);
            if let Some(context) = context.filter(|_| ca_file.is_some() || no_ca_file) {
                context.ca_file = ca_file;
            }
            done
        }
        ContextCommand::Delete { name } => {
            config.context(Some(&name))?;
            config.contexts.retain(|context| context.name != name);
            if config.current_context.as_deref() == Some(&name) {
                config.current_context = None;
            }
            format!("context {name} deleted")
        }
    };
    config.write()?;
    drop(alone);
    print(&format!("{done}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn list(config: &Config, output: OutputArgs) -> anyhow::Result<()> {
    let is_current = |context: &Context| config.current_context.as_deref() == Some(&context.name);
    if output.structured() {
        let contexts = config.contexts.iter().map(|context| {
            json!({ "name": context.name, "server": context.server, "hasToken": context.token.is_some(),
                "caFile": context.ca_file, "current": is_current(context) })
        });
        print_value(output, &json!({ "contexts": contexts.collect::<Vec<_>>() }))?;
        return Ok(());
    }
    if config.contexts.is_empty() {
        let path = path().map(|path| format!(" in {}", path.display())).unwrap_or_default();
        print(&format!("no contexts{path}; {}\n", config.known()))?;
        return Ok(());
    }
    let mut table = Table::new(&["", "NAME", "SERVER", "TOKEN", "CA FILE"]);
    for context in &config.contexts {
        let cells = [
            if is_current(context) { "*" } else { " " },
            &context.name,
            &context.server,
            if context.token.is_some() { "yes" } else { NOTHING },
            context.ca_file.as_deref().unwrap_or(NOTHING),
        ];
        table.row(cells.map(str::to_owned).to_vec());
    }
    print(&table.render())?;
    Ok(())
}

fn set(
    config: &mut Config,
    name: &str,
    server: Option<String>,
    token: Option<String>,
    no_token: bool,
) -> anyhow::Result<String> {
    let before = config.contexts.iter_mut().find(|context| context.name == name);
    let (server, result) = match before {
        Some(context) => {
            let moved = server.filter(|server| *server != context.server);
            if let Some(server) = moved {
                // A token is for the server that it was given for.
                if context.token.is_some() && token.is_none() && !no_token {
                    bail!(
                        "the token of {name} is for {}: give one for {server} with --token-file, or --no-token",
                        context.server
                    );
                }
                context.server = server;
            }
            if token.is_some() || no_token {
                context.token = token;
            }
            (context.server.clone(), "changed")
        }
        None => {
            let server = server.with_context(|| format!("{name} is new: say where it is with --server URL"))?;
            config.contexts.push(Context { name: name.to_owned(), server: server.clone(), token, ca_file: None });
            (server, "made")
        }
    };
    if config.contexts.len() == 1 {
        config.current_context = Some(name.to_owned());
    }
    let current = if config.current_context.as_deref() == Some(name) {
        String::new()
    } else {
        format!("; `weir context use {name}` has commands go there")
    };
    Ok(format!("context {name} {result}: {server}{current}"))
}

/// A file of certificates, so that it is found from every folder.
fn absolute(file: &str) -> anyhow::Result<String> {
    certificates(file).map_err(|problem| anyhow::anyhow!("{file} {problem}"))?;
    let path = std::fs::canonicalize(file).with_context(|| format!("{file} cannot be found"))?;
    path.into_os_string().into_string().map_err(|_| anyhow::anyhow!("the path of {file} is not UTF-8"))
}
