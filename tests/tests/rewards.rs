//! Rewards on a real Envoy: out of response headers, reported by a service, and by a later request; each counted once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_core::plan::Measure;
use weir_tests::plans::{experiment, on_host, plan};
use weir_tests::stand::{between, reporting, versions};
use weir_tests::wait::{PATIENCE, holds};
use weir_tests::{Client, Controller, Envoy, Reply, Stand, Upstream, eventually};

const HEADER: &str = "x-weir-reward";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewards_in_a_response_are_added_up_and_taken_out_before_the_client_sees_them() {
    let mut to_headers = on_host("headers.test", &[("v1", 1), ("v2", 0)]);
    to_headers.measure = Measure::Headers;
    let mut testers = on_host("testers.test", &[("v1", 1), ("v2", 0)]);
    testers.override_header = Some("x-tester".to_owned());
    let mut none = on_host("none.test", &[("v1", 1), ("v2", 0)]);
    none.reward = None;
    let mut ends = to_headers.clone();
    (ends.id, ends.matching.hosts) = ("ends".to_owned(), vec!["ends.test".to_owned()]);
    let all = experiment("all", &[("v1", 1), ("v2", 0)]);
    let Stand { versions: [_one, _two], fake, envoy, .. } =
        Stand::start(plan("1", vec![to_headers, ends, testers, none, all])).await;
    for mut client in [Client::http1(envoy.address()).await, Client::http2(envoy.address()).await] {
        for host in ["shop.example", "headers.test"] {
            // One, a list, several headers, what cannot be read among what can, and more than are looked at.
            for path in [
                "/reward/2.5",
                "/reward/1,2,%203",
                "/rewards/1;2;0.5",
                "/rewards/nan;7;1e99;x",
                "/reward/none",
                &format!("/rewards/{}", ["1"; 40].join(";")),
            ] {
                let reply = client.get(path, &[("host", host)]).await;
                assert_eq!((reply.status.as_u16(), reply.headers.get_all(HEADER).iter().count()), (200, 0), "{path}");
            }
        }
        // What fails before the headers is seen, what fails after them is not.
        for (path, status) in [("/grpc/14", 200), ("/status/500", 500), ("/reset", 503)] {
            assert_eq!(client.get(path, &[("host", "ends.test")]).await.status, status);
        }
        let tester = client.get("/reward/1", &[("host", "testers.test"), ("x-tester", "v2")]).await;
        assert_eq!((tester.version(), tester.headers.get(HEADER)), ("v2", None), "also where nothing is recorded");
        let other = client.get("/rewards/1;2", &[("host", "none.test")]).await;
        assert_eq!(other.headers.get_all(HEADER).iter().count(), 2, "another experiment's header is its own");
    }
    for id in ["all", "headers.test"] {
        eventually(PATIENCE, "every answer is counted", async || holds(fake.counts(id, "v1").completed == 12)).await;
        let counts = fake.counts(id, "v1");
        // The path's `%20` is no number.
        let rewards = [2.5, 3.0, 3.5, 7.0, 16.0];
        assert_eq!(counts.rewarded, 2 * rewards.len() as u64, "{id}");
        assert!((counts.reward_sum - 2.0 * rewards.iter().sum::<f64>()).abs() < 1e-9, "{}", counts.reward_sum);
        let squares: f64 = rewards.iter().map(|reward| reward * reward).sum();
        assert!((counts.reward_sum_squares - 2.0 * squares).abs() < 1e-9);
    }
    assert_eq!(fake.assigned("testers.test"), 0);
    let ends = || (fake.counts("ends", "v1").completed, fake.counts("ends", "v1").failed);
    eventually(PATIENCE, "ends are counted", async || holds(ends().0 >= 6)).await;
    assert_eq!(ends(), (6, 4));
}

fn document(unit: &str, reward: &str) -> String {
    format!(
        "
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {{name: shop}}
spec:
  service: shop
  unit: {unit}
  versions: [{{name: v1, baseline: true}}, {{name: v2}}]
  strategy: ab
  reward: {{{reward}, kind: real, direction: maximize}}
  minExposures: 1000000
  deadline: 6s
  bin: 1s
"
    )
}

/// An Envoy for that controller, once its workers have the plan. Nobody is exposed before.
async fn envoy_for(controller: &Controller, versions: &[Upstream]) -> Envoy {
    let envoy = between(versions, controller.address()).plugin(&reporting("200ms")).start().await;
    envoy.wait_for_plans_in_log(1).await;
    envoy
}

/// Per version: settled exposures, and those rewarded.
async fn settled(controller: &Controller) -> Option<BTreeMap<String, (u64, u64)>> {
    let view = controller.get("/v1/experiments/shop").await?;
    let versions = view["assessment"]["versions"].as_array()?;
    let count = |version: &Value, name: &str| version["settled"][name].as_u64().unwrap_or_default();
    let names = ["v1", "v2"].into_iter().map(str::to_owned);
    Some(names.zip(versions.iter().map(|version| (count(version, "assigned"), count(version, "rewarded")))).collect())
}

/// Waits until so many exposures have settled; how many of each version were rewarded.
async fn rewarded(controller: &Controller, exposures: u64) -> BTreeMap<String, u64> {
    let settled = eventually(PATIENCE, "every exposure has settled", async || {
        let settled = settled(controller).await?;
        (settled.values().map(|(assigned, _)| assigned).sum::<u64>() >= exposures).then_some(settled)
    })
    .await;
    assert_eq!(settled.values().map(|(assigned, _)| assigned).sum::<u64>(), exposures);
    settled.into_iter().map(|(version, (_, rewarded))| (version, rewarded)).collect()
}

async fn post(controller: &Controller, rewards: &[Value]) -> Value {
    let body = serde_json::to_vec(rewards).unwrap();
    let reply = controller.call("POST", "/v1/experiments/shop/rewards", &[], body).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_reports_rewards_with_the_token_it_was_given_and_each_counts_once() {
    let upstreams: [Upstream; 2] = versions().await;
    let mut controller = Controller::start_with(&["--decision-interval", "200ms"]).await;
    controller.apply(&document("request", "api: {}"));
    let envoy = envoy_for(&controller, &upstreams).await;
    let mut expected = BTreeMap::from([("v1".to_owned(), 0), ("v2".to_owned(), 0)]);
    let (mut exposures, mut rewards) = (0, Vec::new());
    let mut clients = envoy.connect_to_every_worker().await;
    clients.push(Client::http2(envoy.address()).await);
    for client in &mut clients {
        for at in 0..20 {
            let reply = client.get("/echo", &[("x-weir-assignment", "forged")]).await;
            exposures += 1;
            let text = reply.text();
            let tokens: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("x-weir-assignment: ")).collect();
            let [token] = tokens.as_slice() else { panic!("one token, and not the client's: {text}") };
            assert!(token.len() == 62 && *token != "forged", "{token}");
            if at % 4 == 0 {
                rewards.push(json!({"assignment": token, "reward": 1.5}));
                *expected.get_mut(reply.version()).unwrap() += 1;
            }
        }
    }
    assert_eq!(post(&controller, &rewards[..5]).await["counted"], 5);
    controller.kill();
    controller.resume().await;
    // The service heard nothing of the crash, and sends everything again, some of it twice.
    let again = post(&controller, &[rewards.clone(), rewards[8..].to_vec()].concat()).await;
    let wanted = json!({"counted": 10, "duplicate": 12, "late": 0, "unknown": 0, "invalid": 0});
    assert_eq!(again, wanted);
    let mut forged = rewards[0]["assignment"].as_str().unwrap().to_owned();
    forged.replace_range(40..41, if &forged[40..41] == "A" { "B" } else { "A" });
    assert_eq!(post(&controller, &[json!({"assignment": forged})]).await["invalid"], 1);
    assert_eq!(rewarded(&controller, exposures).await, expected);
    let late = post(&controller, &rewards).await;
    assert_eq!(late["late"], 15, "{late}");
    assert_eq!(rewarded(&controller, exposures).await, expected);
    let metrics = controller.call("GET", "/metrics", &[], Vec::new()).await.expect("metrics").text();
    assert!(metrics.contains("weir_rewards_total{result=\"late\"} 15"), "{metrics}");
    let replay = controller.weir(&["replay", "shop"]);
    assert!(String::from_utf8_lossy(&replay.stdout).contains("all equal"));
}

/// A browser: it keeps cookies and forgets those that are taken back.
#[derive(Default, Clone)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    async fn send(&mut self, client: &mut Client, method: Method, path: &str) -> Reply {
        let cookies: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers: &[(&str, &[u8])] = if cookies.is_empty() { &[] } else { &[("cookie", cookies.as_bytes())] };
        let reply = client.send(method, path, headers).await.expect("an answer");
        for cookie in reply.headers.get_all("set-cookie") {
            let (pair, attributes) = cookie.to_str().unwrap().split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.ends_with("; Max-Age=0") {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    fn token(&self) -> Option<&String> {
        self.0.get("weir-assignment-shop")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_request_rewards_the_exposure_before_it_once_whichever_envoys_see_it() {
    const USERS: usize = 24;
    let upstreams: [Upstream; 2] = versions().await;
    let controller = Controller::start_with(&["--decision-interval", "200ms"]).await;
    let conversion = "request: {method: POST, path: {prefix: /reward}, responseHeader: x-weir-reward}";
    controller.apply(&document("{cookie: {name: weir-uid, generate: {}}}", conversion));
    let (first, second) = (envoy_for(&controller, &upstreams).await, envoy_for(&controller, &upstreams).await);
    let mut workers = first.connect_to_every_worker().await;
    workers.extend(second.connect_to_every_worker().await);
    workers.push(Client::http2(second.address()).await);
    let count = workers.len();
    let (mut exposures, mut expected) = (0, BTreeMap::from([("v1".to_owned(), 0), ("v2".to_owned(), 0)]));
    let mut browsers = vec![Browser::default(); USERS];
    for (user, browser) in browsers.iter_mut().enumerate() {
        let version = browser.send(&mut workers[user % count], Method::GET, "/").await.version().to_owned();
        let token = browser.token().expect("a token").clone();
        // Later visits keep the token; what is no conversion keeps it too.
        for (method, path) in [(Method::GET, "/"), (Method::GET, "/reward/9"), (Method::POST, "/status/500")] {
            browser.send(&mut workers[(user + 1) % count], method, path).await;
        }
        assert_eq!(browser.token(), Some(&token));
        exposures += 4;
        if user % 3 == 2 {
            continue;
        }
        // The same conversion at once, through other workers of both Envoys: with the same token.
        let mut again = browser.clone();
        for (browser, worker) in [(&mut *browser, user + 2), (&mut again, user + 3)] {
            let reply = browser.send(&mut workers[worker % count], Method::POST, "/reward/2.5").await;
            exposures += 1;
            assert_eq!((reply.version(), reply.headers.get(HEADER)), (version.as_str(), None));
            assert_eq!(browser.token(), None, "a token is rewarded once");
        }
        *expected.get_mut(&version).unwrap() += 1;
    }
    assert!(expected.values().all(|count| *count > 0), "{expected:?}");
    // A stranger with a token of its own making.
    let mut stranger = Browser(BTreeMap::from([("weir-assignment-shop".to_owned(), "A".repeat(62))]));
    stranger.send(&mut workers[0], Method::POST, "/reward/1000").await;
    exposures += 1;
    assert_ne!(stranger.token(), Some(&"A".repeat(62)), "it is given one");
    assert_eq!(rewarded(&controller, exposures).await, expected);
    let metrics = controller.call("GET", "/metrics", &[], Vec::new()).await.expect("metrics").text();
    let converted: u64 = expected.values().sum();
    let told = |result: &str| {
        let prefix = format!("weir_rewards_total{{result=\"{result}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&prefix)?.parse::<u64>().ok()).expect("a counter")
    };
    assert_eq!((told("counted"), told("late"), told("invalid")), (converted, 0, 0), "{metrics}");
    // A worker that has seen both claims the reward once.
    assert!((1..=converted).contains(&told("duplicate")), "{metrics}");
    let replay = controller.weir(&["replay", "shop"]);
    assert!(String::from_utf8_lossy(&replay.stdout).contains("all equal"));
}

/// Exposures, and how many of them were rewarded, by epoch and version.
type ByEpoch = BTreeMap<(u64, String), (u64, u64)>;

/// What has settled, as the journal has it: each entry what was added since the one before.
async fn settled_by_epoch(controller: &Controller) -> ByEpoch {
    let page = controller.get("/v1/experiments/shop/journal?limit=1000").await.expect("a journal");
    let mut sums = ByEpoch::new();
    let entries = page["entries"].as_array().unwrap().iter();
    let events = entries.flat_map(|entry| entry["event"].as_object().unwrap().values());
    for cell in events.filter_map(|event| event["observed"]["settled"].as_array()).flatten() {
        let version = ["v1", "v2"][usize::try_from(cell["version"].as_u64().unwrap()).unwrap()];
        let count = |name: &str| cell["counts"][name].as_u64().unwrap_or_default();
        let sum = sums.entry((cell["epoch"].as_u64().unwrap(), version.to_owned())).or_default();
        *sum = (sum.0 + count("assigned"), sum.1 + count("rewarded"));
    }
    sums
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reward_goes_to_the_epoch_and_version_that_earned_it_though_weights_move_before_it_comes() {
    const USERS: usize = 90;
    let upstreams: [Upstream; 2] = versions().await;
    let controller = Controller::start_with(&["--decision-interval", "200ms"]).await;
    let conversion = "request: {method: POST, path: {prefix: /reward}, responseHeader: x-weir-reward}";
    let document = document("{cookie: {name: weir-uid, generate: {}}}", conversion);
    controller.apply(&document);
    let envoys = [envoy_for(&controller, &upstreams).await, envoy_for(&controller, &upstreams).await];
    let mut workers = Vec::new();
    for envoy in &envoys {
        workers.extend(envoy.connect_to_every_worker().await);
    }
    let mut browsers = vec![Browser::default(); USERS];
    let mut expected = ByEpoch::new();
    let mut first = Vec::new();
    for (user, browser) in browsers.iter_mut().enumerate() {
        let version = browser.send(&mut workers[user % 4], Method::GET, "/").await.version().to_owned();
        expected.entry((1, version.clone())).or_default().0 += 1;
        first.push(version);
    }
    controller.apply(&document.replace("strategy: ab", "strategy: {ab: {weights: {v1: 10%, v2: 90%}}}"));
    for envoy in &envoys {
        envoy.wait_for_plans_in_log(2).await;
    }
    let mut moved = 0;
    for (user, browser) in browsers.iter_mut().enumerate() {
        let token = browser.token().expect("a token").clone();
        // Of three users one converts by the token of the first epoch, one is exposed anew before, one never converts. Who has stayed
        // with the version keeps the token, and so the reward goes to the first epoch; who has moved has another.
        let (epoch, version) = match user % 3 {
            0 => (1, first[user].clone()),
            1 => {
                let reply = browser.send(&mut workers[(user + 1) % 4], Method::GET, "/").await;
                let version = reply.version().to_owned();
                let stays = version == first[user];
                assert_eq!(browser.token() == Some(&token), stays, "{version} after {}", first[user]);
                expected.entry((2, version.clone())).or_default().0 += 1;
                (if stays { 1 } else { 2 }, version)
            }
            _ => continue,
        };
        // Through a worker of the other Envoy, and once more, with the same token, through another worker.
        let mut again = browser.clone();
        for (browser, worker) in [(browser, user + 2), (&mut again, user + 3)] {
            let reply = browser.send(&mut workers[worker % 4], Method::POST, "/reward/2.5").await;
            expected.entry((2, reply.version().to_owned())).or_default().0 += 1;
            moved += u64::from(epoch == 1 && reply.version() != version);
        }
        expected.get_mut(&(epoch, version)).unwrap().1 += 1;
    }
    // By good luck alone none of thirty would move: with probability below a millionth, 0.6 to the 30th.
    assert!(moved > 0, "some are rewarded for a version that they have left");
    let all = expected.values().map(|(assigned, _)| assigned).sum();
    rewarded(&controller, all).await;
    // The entry of a command holds what had settled by then.
    assert!(controller.weir(&["pause", "shop", "--reason", "to see what has settled"]).status.success());
    assert_eq!(settled_by_epoch(&controller).await, expected);
    let metrics = controller.call("GET", "/metrics", &[], Vec::new()).await.expect("metrics").text();
    let earned: u64 = expected.values().map(|(_, rewarded)| rewarded).sum();
    assert!(metrics.contains(&format!("weir_rewards_total{{result=\"counted\"}} {earned}\n")), "{metrics}");
    assert!(metrics.contains("weir_rewards_total{result=\"late\"} 0\n"), "{metrics}");
}
