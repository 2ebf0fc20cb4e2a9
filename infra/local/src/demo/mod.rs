pub mod site; pub mod sshd; mod tools; pub(crate) async fn run(_: bool) -> std::process::ExitCode { todo!() }
