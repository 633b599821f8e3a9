//! x
fn main() {
    let path = std::env::args().nth(1).unwrap_or_default();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    match weir_simulator::scenario::read(&text) {
        Err(problems) => problems.iter().for_each(|p| println!("{p}")),
        Ok(s) => {
            let t = std::time::Instant::now();
            let w = if std::env::args().nth(2).is_some() { weir_simulator::Watching::Everything } else { weir_simulator::Watching::Outcome };
            let run = weir_simulator::simulate(&s, &mut weir_simulator::policy::Weir::default(), s.seed, w);
            let e = t.elapsed();
            println!("{:#?}", weir_simulator::Run { points: vec![], ..run.clone() });
            println!("points {} {:?} {:.2} M/s {:?}", run.points.len(), e, run.requests as f64 / e.as_secs_f64() / 1e6, weir_simulator::expect::broken(&s, &run));
        }
    }
}
