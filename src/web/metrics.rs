//! What is counted while requests are answered, for `/metrics`. Labels are routes and statuses, never what users wrote.

use std::{collections::HashSet, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::Web;
use crate::{
    domain::{build::Status, delivery::Outcome},
    store::WatchedImage,
};

/// In which form the metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own text format, for everybody who does not ask for the other.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What somebody who sends these `Accept` headers understands.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let mut accepted = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let knows = accepted.any(|value| value.to_ascii_lowercase().contains("application/openmetrics-text"));
        if knows { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    provider: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabels {
    look: &'static str,
}

/// Everything counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    webhooks: Family<WebhookLabels, Counter>,
    builds: Family<StatusLabels, Gauge>,
    watched: Family<LookLabels, Gauge>,
    outdated: Gauge,
    waves: Gauge,
    workers: Gauge,
    engine_up: Gauge,
    started: Gauge,
}

/// What is looked up when the metrics are asked for.
pub struct Snapshot {
    pub builds: Vec<(Status, i64)>,
    /// Watched base images, each as it was last seen.
    pub watched: Vec<WatchedImage>,
    /// Images of ours that stand on older versions of others.
    pub outdated: usize,
    pub open_waves: usize,
    pub workers: usize,
    pub engine_up: bool,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        // From 1 ms to about 16 s.
        let durations =
            Family::new_with_constructor((|| Histogram::new(exponential_buckets(0.001, 2.0, 15))) as fn() -> _);
        let webhooks = Family::<WebhookLabels, Counter>::default();
        let builds = Family::<StatusLabels, Gauge>::default();
        let watched = Family::<LookLabels, Gauge>::default();
        let (outdated, waves) = (Gauge::default(), Gauge::default());
        let (workers, engine_up, started) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("hullworks_http_requests", "Requests answered", requests.clone());
        registry.register(
            "hullworks_http_request_duration_seconds",
            "Time to the head of an answer",
            durations.clone(),
        );
        registry.register("hullworks_webhooks", "Webhooks recorded, by outcome", webhooks.clone());
        registry.register("hullworks_builds", "Builds in each state", builds.clone());
        registry.register(
            "hullworks_watched_images",
            "Base images that are watched, by what the last look at them found",
            watched.clone(),
        );
        registry.register(
            "hullworks_outdated_images",
            "Images built here that stand on older versions of their base images",
            outdated.clone(),
        );
        registry.register(
            "hullworks_open_waves",
            "Waves of rebuilds that have not ended",
            waves.clone(),
        );
        registry.register("hullworks_workers", "Workers alive", workers.clone());
        registry.register(
            "hullworks_engine_up",
            "Whether the Docker Engine answers this process",
            engine_up.clone(),
        );
        registry.register(
            "process_start_time_seconds",
            "When this process began, since 1970",
            started.clone(),
        );
        Self {
            registry,
            requests,
            durations,
            webhooks,
            builds,
            watched,
            outdated,
            waves,
            workers,
            engine_up,
            started,
        }
    }

    /// Notes when the process began.
    pub fn started_at(&self, time: DateTime<Utc>) {
        self.started.set(time.timestamp());
    }

    /// Counts a webhook of a forge, or of `registry`.
    pub fn webhook(&self, provider: &'static str, outcome: Outcome) {
        let labels = WebhookLabels {
            provider,
            outcome: outcome.as_str(),
        };
        self.webhooks.get_or_create(&labels).inc();
    }

    /// Everything as text.
    pub fn render(&self, snapshot: &Snapshot, format: Format) -> Result<String, std::fmt::Error> {
        for status in Status::ALL {
            let count = snapshot
                .builds
                .iter()
                .find(|(found, _)| *found == status)
                .map_or(0, |(_, count)| *count);
            let labels = StatusLabels {
                status: status.as_str(),
            };
            self.builds.get_or_create(&labels).set(count);
        }
        for look in LOOKS {
            let found = snapshot.watched.iter().filter(|image| look_at(image) == look).count();
            self.watched.get_or_create(&LookLabels { look }).set(count(found));
        }
        self.outdated.set(count(snapshot.outdated));
        self.waves.set(count(snapshot.open_waves));
        self.workers.set(count(snapshot.workers));
        self.engine_up.set(i64::from(snapshot.engine_up));
        let mut rendered = String::new();
        text::encode(&mut rendered, &self.registry)?;
        Ok(match format {
            Format::OpenMetrics => rendered,
            Format::Prometheus => in_prometheus_format(&rendered),
        })
    }
}

/// What a look at a base image can have found.
const LOOKS: [&str; 4] = ["found", "gone", "failed", "none"];

fn look_at(image: &WatchedImage) -> &'static str {
    match (&image.problem, image.gone_since, image.checked_at) {
        (Some(_), ..) => "failed",
        (None, Some(_), _) => "gone",
        (None, None, Some(_)) => "found",
        (None, None, None) => "none",
    }
}

fn count(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}

/// The same in the older format, where a counter is described under the name that its samples have, and nothing marks
/// the end.
fn in_prometheus_format(text: &str) -> String {
    let counters: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut converted = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|kind| {
            let (name, rest) = line.strip_prefix(kind)?.split_once(' ')?;
            counters.contains(name).then(|| format!("{kind}{name}_total {rest}"))
        });
        converted.push_str(described.as_deref().unwrap_or(line));
        converted.push('\n');
    }
    converted
}

/// Counts and times each request under the route that it matched.
pub async fn measure(State(web): State<Web>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    // What people make up as methods must not become labels.
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    let labels = RouteLabels {
        method: method.clone(),
        route: route.clone(),
    };
    web.metrics
        .durations
        .get_or_create(&labels)
        .observe(begun.elapsed().as_secs_f64());
    let status = response.status().as_u16();
    web.metrics
        .requests
        .get_or_create(&RequestLabels { method, route, status })
        .inc();
    response
}
