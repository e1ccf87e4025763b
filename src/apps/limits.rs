//! What one app may use of what all share.

use super::AppError;
use crate::config::LimitOptions;
use serde::{Deserialize, Serialize};

/// In force for an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Requests per second, with a second's worth of them at once; 0: no bound
    pub requests_per_second: u32,
    /// Requests that are worked on at a time
    pub requests: usize,
    /// Requests that may wait for their turn
    pub waiting: usize,
    /// Writes that wait for the disk at a time
    pub writes: usize,
    /// Queries that are answered, and live results that are read, at a time
    pub scans: usize,
    /// Passwords that are hashed at a time
    pub hashings: usize,
    /// Websockets and event streams; 0: as many as leave as much free for others
    pub connections: usize,
    /// Subscriptions, all connections together
    pub subscriptions: usize,
    /// Bytes that their queries take, estimated; 0: no bound
    pub subscription_bytes: usize,
    /// Bytes of objects, their keys and JSON texts; 0: no bound
    pub stored_bytes: u64,
}

/// What an administrator gave an app of its own; what is absent is as configured for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OwnLimits {
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<usize>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<usize>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<usize>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scans: Option<usize>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashings: Option<usize>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<usize>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_bytes: Option<usize>,
    /// As in [`Limits`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
}

/// Largest number that makes sense for any of them: beyond it counters of turns end.
const MOST: usize = 1 << 30;

impl Limits {
    /// As configured, with what an app has of its own. `hashings_at_once`: how many the server works on at the same time.
    /// `alone`: there is no other app to leave anything to, so what is worked on at a time has the app's own limits only.
    pub fn new(options: &LimitOptions, own: &OwnLimits, hashings_at_once: usize, alone: bool) -> Limits {
        let shared = |number: usize| if alone { MOST } else { number };
        // So many keep the server busy and put nobody behind more than one round of them.
        let round = |number: usize| if number == 0 { hashings_at_once } else { number };
        let turns = |number: usize| number.clamp(1, MOST);
        Limits {
            requests_per_second: own.requests_per_second.unwrap_or(options.requests_per_second),
            requests: turns(own.requests.unwrap_or(shared(options.requests))),
            waiting: own.waiting.unwrap_or(options.waiting),
            writes: turns(own.writes.unwrap_or(shared(options.writes))),
            scans: turns(own.scans.unwrap_or(shared(options.scans))),
            hashings: turns(own.hashings.map_or_else(|| shared(round(options.hashings)), round)),
            connections: own.connections.unwrap_or(options.connections),
            subscriptions: own.subscriptions.unwrap_or(options.subscriptions),
            subscription_bytes: own.subscription_bytes.unwrap_or(options.subscription_bytes),
            stored_bytes: own.stored_bytes.unwrap_or(options.stored_bytes),
        }
    }
}

impl OwnLimits {
    /// Whether they can be in force.
    pub fn check(&self) -> Result<(), AppError> {
        let turns = [("requests", self.requests), ("writes", self.writes), ("scans", self.scans)];
        for (name, value) in turns {
            if value.is_some_and(|value| value == 0 || value > MOST) {
                return Err(AppError::Limit { name, reason: "a whole number from 1 on; nothing could be done with none" });
            }
        }
        Ok(())
    }

    /// Sets one by its name, as `scans=4` on a command line; `names` in the error say which there are.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<usize>().map_err(|_| format!("{name} is a whole number, not {value:?}"));
        let slot = match name {
            "requestsPerSecond" | "requests_per_second" => {
                self.requests_per_second = Some(value.parse().map_err(|_| format!("{name} is a whole number, not {value:?}"))?);
                return Ok(());
            }
            "storedBytes" | "stored_bytes" => {
                self.stored_bytes = Some(value.parse().map_err(|_| format!("{name} is a whole number, not {value:?}"))?);
                return Ok(());
            }
            "requests" => &mut self.requests,
            "waiting" => &mut self.waiting,
            "writes" => &mut self.writes,
            "scans" => &mut self.scans,
            "hashings" => &mut self.hashings,
            "connections" => &mut self.connections,
            "subscriptions" => &mut self.subscriptions,
            "subscriptionBytes" | "subscription_bytes" => &mut self.subscription_bytes,
            _ => {
                let names = "requests_per_second, requests, waiting, writes, scans, hashings, connections, subscriptions, \
                             subscription_bytes, stored_bytes";
                return Err(format!("there is no limit {name}; there are {names}"));
            }
        };
        *slot = Some(number()?);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_not_an_apps_own_is_as_configured() {
        let options = Config::default().limits;
        let mut own = OwnLimits::default();
        own.set("scans", "3").unwrap();
        own.set("requests_per_second", "7").unwrap();
        let limits = Limits::new(&options, &own, 5, false);
        assert_eq!((limits.scans, limits.requests_per_second, limits.hashings), (3, 7, 5));
        assert_eq!((limits.writes, limits.subscriptions), (options.writes, options.subscriptions));
        let alone = Limits::new(&options, &own, 5, true);
        assert_eq!((alone.scans, alone.requests_per_second), (3, 7), "its own hold always");
        assert_eq!((alone.writes, alone.hashings, alone.requests), (MOST, MOST, MOST), "there is nobody to leave anything to");
        assert!(own.set("scan", "3").unwrap_err().contains("hashings") && own.set("scans", "many").is_err());
        own.set("scans", "0").unwrap();
        assert!(own.check().is_err());
    }
}
