use std::process::ExitCode;

fn main() -> ExitCode {
    hullworks::cli::run()
}
