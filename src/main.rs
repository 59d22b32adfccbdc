//! The `spop-bridge` command. All of it is in [`spop_bridge::cli`].

fn main() -> std::process::ExitCode {
    spop_bridge::cli::main()
}
