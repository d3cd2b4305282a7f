//! The `tidegate` program: the command line only.

fn main() -> std::process::ExitCode {
    tidegate::cli::main()
}
