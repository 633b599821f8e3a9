//! What is made before the controller is compiled: the descriptions of wire types, and the dashboard as part of the binary.

#[path = "build/dashboard.rs"]
mod dashboard;
#[path = "build/sources.rs"]
mod sources;
#[path = "build/wire.rs"]
mod wire;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    wire::write()?;
    dashboard::write()
}
