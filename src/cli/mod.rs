//! The command line: one file per command, all of them written to one output with one set of exit codes.
//!
//! Commands either open an installation's database (`serve`, `worker`, `user`, `token`, `backup`, `restore`) or talk to a
//! running server (all others); none does both.

mod apply;
mod archive;
mod backup;
mod bases;
mod builds;
mod cancel;
mod cause;
mod client;
mod colour;
mod consequences;
mod deliveries;
mod duration;
mod environment;
mod export;
mod failure;
mod follow;
mod logs;
mod output;
mod preview;
mod progress;
mod reference;
mod restore;
mod retry;
mod rules;
mod serve;
mod settings;
mod sse;
mod table;
mod terminal;
mod token;
mod trigger;
mod user;
mod waves;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::{failure::Failure, output::Output};

/// Push to Git, get an image: self-hosted automated builds for any registry.
///
/// `serve` runs everything in one process. The commands that act on repositories and builds are clients of a running
/// server: HULLWORKS_URL is its address (default http://127.0.0.1:8080), HULLWORKS_TOKEN an API token from
/// `hullworks token create`.
///
/// Exit codes: 0 done, 1 the build failed or the request was refused, 2 wrong usage, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "hullworks", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Worker(worker::Worker),
    User(user::User),
    Token(token::Token),
    Apply(apply::Apply),
    Export(export::Export),
    Trigger(trigger::Trigger),
    Builds(builds::Builds),
    Logs(logs::Logs),
    Cancel(cancel::Cancel),
    Retry(retry::Retry),
    Preview(preview::Preview),
    Deliveries(deliveries::Deliveries),
    Bases(bases::Bases),
    Consequences(consequences::Consequences),
    Waves(waves::Waves),
    Backup(backup::Backup),
    Restore(restore::Restore),
}

/// Runs the command that this process was started with.
pub fn run() -> ExitCode {
    // Wrong usage, --help and --version end here, with clap's own words and codes.
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(),
    };
    let done = runtime.block_on(dispatch(command));
    // A read from stdin may still be waiting on its thread.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    let out = Output::stdout();
    match command {
        Command::Serve(command) => command.run().await,
        Command::Worker(command) => command.run().await,
        Command::User(command) => command.run(out).await,
        Command::Token(command) => command.run(out).await,
        Command::Apply(command) => command.run(out).await,
        Command::Export(command) => command.run(out).await,
        Command::Trigger(command) => command.run(out).await,
        Command::Builds(command) => command.run(out).await,
        Command::Logs(command) => command.run(out).await,
        Command::Cancel(command) => command.run(out).await,
        Command::Retry(command) => command.run(out).await,
        Command::Preview(command) => command.run(out).await,
        Command::Deliveries(command) => command.run(out).await,
        Command::Bases(command) => command.run(out).await,
        Command::Consequences(command) => command.run(out).await,
        Command::Waves(command) => command.run(out).await,
        Command::Backup(command) => command.run(out).await,
        Command::Restore(command) => command.run(out).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_flag_explains_itself() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
