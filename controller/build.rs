//! What is made before the controller is compiled.

#[path = "build/dashboard.rs"]
mod dashboard;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    dashboard::write()
}
