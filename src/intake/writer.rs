//! Group commit: under load one writer gathers waiting deliveries into one synced transaction.

use tokio::sync::{mpsc, oneshot};

use crate::{
    signals::Signals,
    store::{Accepted, NewDelivery, Store, StoreError},
};

/// Most deliveries in one transaction; beyond this the disk's sync is no longer what costs.
const LARGEST_GROUP: usize = 64;

/// Deliveries that may wait for the writer; more are told to come back, so that memory stays flat.
const WAITING: usize = 1024;

/// The delivery could not be recorded: come back later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Overloaded {
    #[error("too many deliveries are waiting to be recorded")]
    Full,
    #[error("{0}")]
    Database(String),
}

type Answer = Result<Option<Accepted>, Overloaded>;

#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<(NewDelivery, oneshot::Sender<Answer>)>);

impl Writer {
    pub(super) fn start(store: Store, signals: Signals) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(run(store, signals, receiver));
        Self(sender)
    }

    /// Answers when the delivery is on disk. `None`: its repository is gone.
    pub(super) async fn record(&self, delivery: NewDelivery) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.0.try_send((delivery, answer)).map_err(|_| Overloaded::Full)?;
        answered.await.unwrap_or(Err(Overloaded::Full))
    }
}

async fn run(store: Store, signals: Signals, mut waiting: mpsc::Receiver<(NewDelivery, oneshot::Sender<Answer>)>) {
    let mut group = Vec::with_capacity(LARGEST_GROUP);
    while waiting.recv_many(&mut group, LARGEST_GROUP).await > 0 {
        let (deliveries, answers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        for (accepted, answer) in record_group(&store, deliveries).await.into_iter().zip(answers) {
            // A sender that hung up has its delivery recorded all the same.
            let _ = answer.send(accepted);
        }
        signals.queue_changed();
    }
}

/// Records a group in one transaction; if that fails, each by itself, so that one cannot spoil the others.
async fn record_group(store: &Store, deliveries: Vec<NewDelivery>) -> Vec<Answer> {
    match store.accept(&deliveries).await {
        Ok(answers) => return answers.into_iter().map(Ok).collect(),
        Err(error) if deliveries.len() == 1 => return vec![Err(unusable(error))],
        Err(error) => {
            tracing::warn!(%error, deliveries = deliveries.len(), "failed to record a group; trying one by one")
        }
    }
    let mut answers = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        answers.push(match store.accept(std::slice::from_ref(&delivery)).await {
            Ok(mut accepted) => Ok(accepted.pop().flatten()),
            Err(error) => Err(unusable(error)),
        });
    }
    answers
}

fn unusable(error: StoreError) -> Overloaded {
    tracing::error!(%error, "failed to record a delivery");
    Overloaded::Database("the database cannot record it now".to_owned())
}
