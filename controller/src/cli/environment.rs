//! The environment as arguments: a variable that is empty is one that is not set, as everywhere in a shell's habits.

use clap::Command;

/// The command with every variable left out of it that is set to nothing, for itself and for all below.
pub(super) fn without_empty(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let name = argument.get_env().map(ToOwned::to_owned);
            let empty = name.and_then(std::env::var_os).is_some_and(|value| value.is_empty());
            if empty { argument.env(None) } else { argument }
        })
        .mut_subcommands(without_empty)
}
