//! Builds by the engine's older builder, which takes the context as a tar with the request.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use hyper::Method;

use super::{
    BuildSpec, EngineError,
    bases::Bases,
    build::{blocking, parameters, start},
    context_tar,
    dockerfile::Dockerfile,
    error::build_fault,
    fault::Fault,
    http::{Address, query, request_with},
    layers::Layers,
    messages::Records,
    spec::config_header,
};
use crate::domain::{
    build::Step,
    context::BuildContext,
    image::{ImageReference, is_valid_digest},
    progress::Progress,
};

/// Most steps that are listed.
const MAX_STEPS: usize = 2000;

/// Longest step name in the list, in characters.
const MAX_NAME: usize = 500;

/// Returns the id of the image.
pub(super) async fn build(
    address: &Address,
    spec: &BuildSpec,
    context: Arc<dyn BuildContext>,
    dockerfile: Dockerfile,
    bases: &mut Bases,
    progress: &dyn Progress,
) -> Result<String, EngineError> {
    let planned = Arc::clone(&context);
    let plan = blocking(move || context_tar::plan(planned.as_ref(), dockerfile)).await?;
    let mut pairs = parameters(spec)?;
    pairs.extend([("version", "1".to_owned()), ("dockerfile", plan.dockerfile.clone())]);
    pairs.extend(limits(spec));
    let path = query("/build", pairs.iter().map(|(name, value)| (*name, value.as_str())));
    let config = config_header(&spec.registry_auths);
    let headers = [
        ("content-type", "application/x-tar"),
        ("x-registry-config", config.as_str()),
    ];
    let fault = Fault::default();
    let request = request_with(
        Method::POST,
        &path,
        &headers,
        context_tar::stream(context, plan, fault.clone()),
    )?;
    let result = async { follow(start(address, request).await?, bases, progress).await }
        .await
        .map_err(|error| hit_limit(error, spec));
    // When the tar broke off the engine tells of a broken request.
    match fault.take() {
        Some(fault) => Err(fault),
        None => result,
    }
}

/// The engine's scheduling period, in microseconds: a quota is what a step may use of each.
const CPU_PERIOD: u64 = 100_000;

fn limits(spec: &BuildSpec) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if let Some(bytes) = spec.memory_bytes {
        // Memory and swap together: no swap.
        pairs.extend([("memory", bytes.to_string()), ("memswap", bytes.to_string())]);
    }
    if let Some(thousandths) = spec.cpu_thousandths {
        let quota = CPU_PERIOD / 1000 * thousandths;
        pairs.extend([("cpuperiod", CPU_PERIOD.to_string()), ("cpuquota", quota.to_string())]);
    }
    pairs
}

/// Exit code of a process that was killed, as by a kernel that is out of memory for it.
const KILLED: &str = " failed with exit code 137";

/// Says of a step that was killed what likely killed it.
fn hit_limit(error: EngineError, spec: &BuildSpec) -> EngineError {
    match (error, spec.memory_bytes) {
        (EngineError::Step(message), Some(bytes)) if message.ends_with(KILLED) => EngineError::Step(format!(
            "{message}: it was killed, most likely for using more memory than the limit of {} MiB (limits.memory_bytes)",
            bytes >> 20
        )),
        (error, _) => error,
    }
}

async fn follow(mut records: Records, bases: &mut Bases, progress: &dyn Progress) -> Result<String, EngineError> {
    let mut steps = Steps::new(records.date());
    let mut layers = Layers::default();
    let mut pulls = Pulls::default();
    let mut id = None;
    while let Some(record) = records.next().await? {
        if let Some(message) = record.error() {
            steps.fail(message);
            progress.steps(steps.list);
            progress.line(message);
            let failed = steps.last_name;
            return Err(build_fault(message, failed.as_deref()));
        }
        if let Some(output) = &record.stream {
            progress.write(output.as_bytes());
            if steps.read(output) {
                progress.steps(steps.list.clone());
            }
        } else if let Some(status) = &record.status {
            bases.told(pulls.read(status), progress);
            if let Some(line) = layers.line(&record) {
                progress.line(&line);
            }
        } else if let Some(built) = record.image_id() {
            id = Some(built);
        }
    }
    steps.finish();
    progress.steps(steps.list);
    // The end of the stream alone is no success: it ends so too when the engine dies.
    id.ok_or_else(|| EngineError::Unavailable("the engine ended the build without a result".to_owned()))
}

/// What was pulled, read from the records of pulls.
#[derive(Default)]
struct Pulls {
    digest: Option<String>,
}

impl Pulls {
    /// The image that was pulled, with its digest, where this status ends a pull: `Digest: sha256:...`, then `Status:
    /// Downloaded newer image for alpine:3.20` or `Status: Image is up to date for alpine:3.20`.
    fn read(&mut self, status: &str) -> Option<ImageReference> {
        if let Some(digest) = status.strip_prefix("Digest: ") {
            self.digest = Some(digest.trim().to_owned()).filter(|digest| is_valid_digest(digest));
            return None;
        }
        let (_, name) = status.strip_prefix("Status: ")?.rsplit_once(" for ")?;
        let reference = ImageReference::parse(name.trim()).ok()?;
        let digest = self.digest.take()?;
        Some(ImageReference {
            digest: Some(digest),
            ..reference
        })
    }
}

/// The list of steps, read from the builder's words.
struct Steps {
    list: Vec<Step>,
    last_name: Option<String>,
    /// The engine's time when it began to answer, and ours.
    began: Option<DateTime<Utc>>,
    since: Instant,
}

impl Steps {
    fn new(began: Option<DateTime<Utc>>) -> Self {
        Self {
            list: Vec::new(),
            last_name: None,
            began,
            since: Instant::now(),
        }
    }

    /// Takes output in; tells whether the list changed.
    fn read(&mut self, output: &str) -> bool {
        let mut changed = false;
        for line in output.lines() {
            if let Some(name) = self.next_step(line) {
                self.finish();
                self.last_name = Some(name.clone());
                self.list.push(Step {
                    name,
                    started_at: self.now(),
                    finished_at: None,
                    cached: false,
                    error: None,
                });
                changed = true;
            } else if line == " ---> Using cache"
                && let Some(step) = self.list.last_mut()
            {
                step.cached = true;
                changed = true;
            }
        }
        changed
    }

    /// `Step 2/3 : RUN make` as `[2/3] RUN make`, if the line begins the step that is due: a program may print such
    /// lines too.
    fn next_step(&self, line: &str) -> Option<String> {
        let (count, instruction) = line.strip_prefix("Step ")?.split_once(" : ")?;
        let (number, of) = count.split_once('/')?;
        let is_due = number.parse() == Ok(self.list.len() + 1) && of.parse::<usize>().is_ok();
        (is_due && self.list.len() < MAX_STEPS)
            .then(|| format!("[{count}] {}", instruction.chars().take(MAX_NAME).collect::<String>()))
    }

    fn now(&self) -> Option<DateTime<Utc>> {
        self.began?
            .checked_add_signed(TimeDelta::from_std(self.since.elapsed()).ok()?)
    }

    fn finish(&mut self) {
        let now = self.now();
        if let Some(step) = self.list.last_mut() {
            step.finished_at = step.finished_at.or(now);
        }
    }

    fn fail(&mut self, message: &str) {
        self.finish();
        if let Some(step) = self.list.last_mut() {
            step.error = Some(super::error::clip(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_the_builders_words_and_not_from_a_programs() {
        let mut steps = Steps::new(DateTime::from_timestamp(1000, 0));
        assert!(steps.read("Step 1/2 : FROM scratch\n ---> \nStep 2/2 : RUN make\n"));
        assert!(steps.read(" ---> Using cache\n"));
        assert!(!steps.read("Step 9/9 : RUN fake\nStep x/y : z\nStep 3\n"));
        steps.fail("returned a non-zero code: 7");
        assert_eq!(
            steps.list.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
            ["[1/2] FROM scratch", "[2/2] RUN make"]
        );
        assert!(steps.list[0].finished_at.is_some() && steps.list[1].cached);
        assert_eq!(steps.list[1].error.as_deref(), Some("returned a non-zero code: 7"));
    }
}
