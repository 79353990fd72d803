//! A step of a Dockerfile that runs until the test lets it end: instead of one that takes a time which is either too
//! short or too long.

use std::{fs, time::Duration};

use super::{command, wait};

/// How long a step may take to be reached, with everything else that the machine does at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds up every build that runs its [`Gate::step`].
pub struct Gate {
    /// Seconds that nobody waits for, and by which the processes that do are known on the whole machine.
    seconds: u32,
    image: String,
}

impl Gate {
    /// `image` has a shell, and is in the engine.
    pub fn new(image: &str) -> Self {
        Self {
            seconds: 1_000_000_000 + rand::random::<u32>() % 1_000_000_000,
            image: image.to_owned(),
        }
    }

    /// The step, as a line of a Dockerfile.
    pub fn step(&self) -> String {
        format!("RUN {}\n", self.command())
    }

    /// What the step runs; it ends well when the gate opens.
    pub fn command(&self) -> String {
        format!("sleep {} || true", self.seconds)
    }

    /// How many builds are held up now.
    pub fn held(&self) -> usize {
        self.processes().len()
    }

    /// Waits until so many builds are held up.
    pub async fn reached_by(&self, builds: usize) {
        wait::until("builds to reach the gate", PATIENCE, async || {
            (self.held() == builds).then_some(())
        })
        .await;
    }

    /// Lets everything go on that is held up now.
    pub async fn open(&self) {
        let processes = self.processes();
        assert!(!processes.is_empty(), "nothing is held up");
        // With the engine's power: the step belongs to root, the test not always.
        let mut arguments = ["run", "--rm", "--network", "none", "--pid", "host", &self.image, "kill"]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(processes);
        command::run("docker", &arguments).await;
    }

    fn processes(&self) -> Vec<String> {
        let wanted = format!("sleep\0{}\0", self.seconds);
        let entries = fs::read_dir("/proc").expect("/proc can be read");
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter(|name| name.bytes().all(|c| c.is_ascii_digit()))
            // A process may end while it is looked at.
            .filter(|name| fs::read(format!("/proc/{name}/cmdline")).is_ok_and(|line| line == wanted.as_bytes()))
            .collect()
    }
}
