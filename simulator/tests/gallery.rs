//! Every scenario of the gallery comes out as its file says.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use weir_simulator::policy::Weir;
use weir_simulator::{Watching, expect, scenario, simulate};

fn gallery() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn every_scenario_comes_out_as_its_file_says() {
    let gallery = gallery();
    assert!(gallery.len() >= 13, "{} scenarios", gallery.len());
    let broken: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = gallery
            .iter()
            .map(|(name, text)| {
                scope.spawn(move || {
                    let scenario = scenario::read(text).unwrap();
                    assert!(scenario.expect.is_some(), "{name} expects nothing");
                    assert_eq!(scenario.experiment.name, *name);
                    let run = simulate(&scenario, &mut Weir::default(), scenario.seed, Watching::Outcome);
                    let broken = expect::broken(&scenario, &run);
                    broken.into_iter().map(|broken| format!("{name}: {broken}")).collect::<Vec<_>>()
                })
            })
            .collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    assert!(broken.is_empty(), "{broken:#?}");
}
