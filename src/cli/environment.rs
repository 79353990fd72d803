//! Variables that are meant for Hullworks and that it does not know.

use std::ffi::OsString;

use clap::CommandFactory;

use super::{Cli, client};

const PREFIX: &str = "HULLWORKS_";

/// Names of the given variables that begin with `HULLWORKS_` and mean nothing, sorted: most likely misspelled.
pub fn unknown_variables(variables: impl Iterator<Item = OsString>) -> Vec<String> {
    let known = known_variables(&Cli::command());
    let mut unknown: Vec<String> = variables
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .collect();
    unknown.sort_unstable();
    unknown
}

fn known_variables(command: &clap::Command) -> Vec<String> {
    let flags = command.get_arguments().filter_map(clap::Arg::get_env);
    let mut known: Vec<String> = flags.map(|name| name.to_string_lossy().into_owned()).collect();
    known.extend([client::URL_VARIABLE, client::TOKEN_VARIABLE].map(str::to_owned));
    known.extend(command.get_subcommands().flat_map(known_variables));
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_variable_is_found_and_known_ones_are_not() {
        let names = [
            "PATH",
            "HULLWORKS_CONCURENCY",
            "HULLWORKS_CONCURRENCY",
            "HULLWORKS_URL",
            "HULLWORKS_TOKEN",
            "HULLWORKS_CONFIG",
            "HULLWORKS_BASE_IMAGES_POLL_SECONDS",
        ];
        assert_eq!(
            unknown_variables(names.into_iter().map(OsString::from)),
            ["HULLWORKS_CONCURENCY"]
        );
    }
}
