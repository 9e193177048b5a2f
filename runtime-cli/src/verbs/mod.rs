//! The commands, one file each.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod explain;
mod features;
mod kill;
mod list;
mod pause;
mod process;
mod ps;
mod run;
mod spec;
mod start;
mod state;
mod update;

use crate::command::Command;

/// All of them, in the order of the overview.
pub const COMMANDS: &[&Command] = &[
    &run::COMMAND,
    &create::COMMAND,
    &start::COMMAND,
    &state::COMMAND,
    &exec::COMMAND,
    &kill::COMMAND,
    &delete::COMMAND,
    &list::COMMAND,
    &ps::COMMAND,
    &pause::PAUSE,
    &pause::RESUME,
    &update::COMMAND,
    &events::COMMAND,
    &spec::COMMAND,
    &explain::COMMAND,
    &features::COMMAND,
    &checkpoint::CHECKPOINT,
    &checkpoint::RESTORE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Refusal;

    #[test]
    fn every_command_helps_and_shows_its_flags() {
        for command in COMMANDS {
            assert_eq!(
                crate::cli::matches(command, &["--help"]),
                Err(Refusal::Help),
                "{}",
                command.name
            );
            let help = command.help();
            for flag in command.flags {
                assert_eq!(
                    help.contains(&format!("--{}", flag.name)),
                    !flag.hidden,
                    "{} {}",
                    command.name,
                    flag.name
                );
            }
        }
    }

    #[test]
    fn the_entry_point_knows_what_launches() {
        // It goes by these names, before anything is parsed.
        let launching = COMMANDS
            .iter()
            .filter(|command| command.launches)
            .map(|command| command.name);
        assert_eq!(launching.collect::<Vec<_>>(), ["run", "create", "exec"]);
    }

    #[test]
    fn flag_names_are_unambiguous() {
        for command in COMMANDS {
            let mut names: Vec<&str> = command
                .flags
                .iter()
                .flat_map(|flag| [Some(flag.name), flag.short])
                .flatten()
                .collect();
            names.sort_unstable();
            names
                .windows(2)
                .for_each(|pair| assert_ne!(pair[0], pair[1], "{}", command.name));
        }
    }
}
