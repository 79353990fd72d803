//! Wake-ups between the activities of one process. They carry no facts: whoever is woken looks into the store, and whoever
//! misses one finds out by polling.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

/// Wake-ups, shared by all activities. Cheap to clone.
#[derive(Clone, Default)]
pub struct Signals(Arc<Bells>);

#[derive(Default)]
struct Bells {
    queue: Notify,
    cancel: Notify,
    clean_up: Notify,
    ended: Notify,
    access: Notify,
    bases: Notify,
    schedules: Notify,
    /// Rung with the others that tell of builds, and by itself.
    shown: Notify,
}

impl Signals {
    /// Builds were queued, or a place for one became free.
    pub fn queue_changed(&self) {
        self.0.queue.notify_waiters();
        self.0.shown.notify_waiters();
    }

    /// Somebody asked for a build to be canceled.
    pub fn cancel_requested(&self) {
        self.0.cancel.notify_waiters();
        self.0.shown.notify_waiters();
    }

    /// An administrator asked for a clean-up.
    pub fn clean_up_requested(&self) {
        self.0.clean_up.notify_waiters();
    }

    /// A build ended.
    pub fn build_ended(&self) {
        self.0.ended.notify_waiters();
        self.0.bases.notify_waiters();
        self.0.shown.notify_waiters();
    }

    /// A build got on: another phase, another step. What else pages show of builds has bells of its own.
    pub fn build_got_on(&self) {
        self.0.shown.notify_waiters();
    }

    /// An image is to be looked at, somebody stands on others than before, or a wave is steered.
    pub fn base_images_changed(&self) {
        self.0.bases.notify_waiters();
        self.0.shown.notify_waiters();
    }

    /// Somebody may see less than before: a session, a token or a role ended, or something became private.
    pub fn access_changed(&self) {
        self.0.access.notify_waiters();
    }

    /// A rule's schedule may have changed.
    pub fn schedules_changed(&self) {
        self.0.schedules.notify_waiters();
    }

    /// Waits for [`Self::queue_changed`], at most for `poll`. Interest counts from the call on, before the first poll.
    pub fn on_queue_change(&self, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
        wait(&self.0.queue, poll)
    }

    /// Waits for [`Self::cancel_requested`], at most for `poll`.
    pub fn on_cancel_request(&self, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
        wait(&self.0.cancel, poll)
    }

    /// Waits for [`Self::clean_up_requested`], at most for `poll`.
    pub fn on_clean_up_request(&self, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
        wait(&self.0.clean_up, poll)
    }

    /// Waits for [`Self::build_ended`], at most for `poll`.
    pub fn on_build_end(&self, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
        wait(&self.0.ended, poll)
    }

    /// Waits for [`Self::base_images_changed`] or [`Self::build_ended`], at most for `poll`.
    pub fn on_base_image_change(&self, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
        wait(&self.0.bases, poll)
    }

    /// Waits for anything that pages show of builds to change, at most for `poll`.
    pub fn on_shown_change(&self, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
        wait(&self.0.shown, poll)
    }

    /// Waits for [`Self::access_changed`], at most for `poll`.
    pub fn on_access_change(&self, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
        wait(&self.0.access, poll)
    }

    /// Waits for [`Self::schedules_changed`], at most for `poll`.
    pub fn on_schedule_change(&self, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
        wait(&self.0.schedules, poll)
    }
}

/// `notified()` is called at once, not when the future is first polled: a bell rung in between is heard.
fn wait(bell: &Notify, poll: Duration) -> impl Future<Output = ()> + Send + '_ {
    let rung = bell.notified();
    async move {
        // Whether the bell rang or the time ran out, the caller looks into the store.
        let _ = tokio::time::timeout(poll, rung).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_rung_between_registering_and_waiting_is_heard() {
        let signals = Signals::default();
        let heard = signals.on_queue_change(Duration::from_secs(3600));
        signals.queue_changed();
        tokio::time::timeout(Duration::from_secs(5), heard)
            .await
            .expect("the bell was not heard");
    }
}
