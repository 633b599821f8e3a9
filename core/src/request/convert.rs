//! What a response makes of a request that may be a conversion: what it is worth, and whose token it rewards.

use super::reward;
use crate::conversions::{Found, MAX_CONVERSIONS};
use crate::earning::Earning;
use crate::host::Host;
use crate::recorder::Recorder;

/// How large the reward of each token is; zero: none. Reads the status and each header once, and nothing without a token.
#[inline(never)]
pub(super) fn worth<H: Host>(host: &mut H, found: &Found) -> Vec<f64> {
    if found.tokens.is_empty() {
        return Vec::new();
    }
    let status = host.response_header(":status").and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok());
    let mut read: Vec<(&str, f64)> = Vec::new();
    let mut worth = Vec::with_capacity(found.tokens.len());
    let mut rewarded = 0;
    for (experiment, _) in &found.tokens {
        let header = match &experiment.earning {
            Earning::Request(conversion) if conversion.agrees(status) => conversion.response_header.as_deref(),
            _ => {
                worth.push(0.0);
                continue;
            }
        };
        let amount = match header {
            // How large it is, of what is beyond nobody asks.
            Some(name) if rewarded < MAX_CONVERSIONS => {
                let known = read.iter().find(|(known, _)| *known == name).map(|(_, amount)| *amount);
                known.unwrap_or_else(|| {
                    let amount = host.response_headers(name).map_or(0.0, |values| reward::sum(&values));
                    read.push((name, amount));
                    amount
                })
            }
            _ => 1.0,
        };
        rewarded += usize::from(amount != 0.0);
        worth.push(amount);
    }
    worth
}

/// Claims the rewards, and takes from the response what the client is not to see.
#[inline(never)]
pub(super) fn claim<H: Host>(host: &mut H, recorder: &mut Recorder, found: Found, worth: Vec<f64>) {
    for name in &found.headers {
        host.remove_response_header(name);
    }
    let rewarded = found.tokens.into_iter().zip(worth).filter(|(_, amount)| *amount != 0.0);
    for (at, ((experiment, token), amount)) in rewarded.enumerate() {
        let Earning::Request(conversion) = &experiment.earning else { continue };
        if at >= MAX_CONVERSIONS {
            recorder.lose_claim();
            continue;
        }
        recorder.claim(&experiment.id, token, amount);
        host.add_response_header("set-cookie", &conversion.cookie.take_back());
    }
}
