//! A mailer that fails on purpose, counts what it sends, and freezes its worker at the worst
//! moment.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;

use super::faults::{Faults, MailFault, Workers};
use super::ledger::Ledger;
use crate::domain::processing::failure::Failure;
use crate::ground::shutdown::Shutdown;
use crate::mail::{Mail, Mailer};

/// How long a worker stays frozen at most. The claim's lease is 25 s, and the message that another
/// worker has got meanwhile may wait half a minute in a delay queue.
const LONGEST_FREEZE: Duration = Duration::from_secs(90);
/// How often a frozen worker looks whether another has sent its mail.
const LOOK: Duration = Duration::from_millis(200);

/// The mailer of one worker.
pub(super) struct BreakableMailer {
    pub(super) mailer: Arc<dyn Mailer>,
    pub(super) faults: Faults,
    pub(super) ledger: Ledger,
    /// The worker's number.
    pub(super) worker: usize,
    /// The end of the process, which frees a frozen worker.
    pub(super) shutdown: Shutdown,
}

#[async_trait]
impl Mailer for BreakableMailer {
    async fn send(&self, mail: &Mail) -> Result<(), Failure> {
        let fault = self.faults.mail();
        if rand::random_range(0..100) < fault.failing {
            return Err(refusal(fault, &mail.to));
        }
        self.mailer.send(mail).await?;
        let times = self.ledger.sent(&mail.message_id);
        if self.faults.freeze(self.worker) {
            self.ledger.explain(&mail.message_id);
            self.freeze(&mail.message_id, times);
        }
        Ok(())
    }
}

impl BreakableMailer {
    /// Freezes between sending a mail, the `times`th time that it was sent, and recording it: until
    /// another worker has taken the claim over and sent it again, or somebody gives an order.
    ///
    /// It blocks inside the poll of the effect's run, so nothing of this run goes on, its time
    /// limit neither: as if the process were stopped. Other tasks of the runtime go on elsewhere.
    fn freeze(&self, message_id: &str, times: u64) {
        tracing::warn!(
            worker = self.worker,
            message_id,
            "the demo freezes a worker that has sent a mail and not recorded it"
        );
        let taken_over = async {
            while self.ledger.times(message_id) <= times {
                tokio::time::sleep(LOOK).await;
            }
        };
        let until = async {
            tokio::select! {
                () = taken_over => {}
                () = self.faults.workers_are(|state| state != Workers::Frozen(self.worker)) => {}
                () = self.shutdown.requested() => {}
                () = tokio::time::sleep(LONGEST_FREEZE) => {}
            }
        };
        tokio::task::block_in_place(|| Handle::current().block_on(until));
        self.faults.thaw(self.worker);
        tracing::warn!(worker = self.worker, message_id, "the frozen worker goes on");
    }
}

/// What a mail server would say.
fn refusal(fault: MailFault, to: &str) -> Failure {
    match fault.for_good {
        true => Failure::permanent(format!(
            "permanent error (550): 5.1.1 <{to}>: Recipient address rejected: User unknown in local recipient table"
        )),
        false => Failure::transient(
            "transient error (451): 4.3.2 System not accepting network messages, try again later",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::processing::failure::Class;

    struct Sink;

    #[async_trait]
    impl Mailer for Sink {
        async fn send(&self, _: &Mail) -> Result<(), Failure> {
            Ok(())
        }
    }

    fn mailer() -> BreakableMailer {
        BreakableMailer {
            mailer: Arc::new(Sink),
            faults: Faults::default(),
            ledger: Ledger::default(),
            worker: 1,
            shutdown: Shutdown::new(Duration::ZERO),
        }
    }

    fn mail() -> Mail {
        Mail {
            message_id: "m".into(),
            to: "ada@example.com".into(),
            to_name: None,
            subject: String::new(),
            text: String::new(),
            html: String::new(),
        }
    }

    #[tokio::test]
    async fn mail_fails_as_it_is_told_to_and_what_fails_is_not_sent() {
        let mailer = mailer();
        for (for_good, class, says) in
            [(false, Class::Transient, "451"), (true, Class::Permanent, "<ada@example.com>")]
        {
            mailer.faults.set_mail(MailFault { failing: 100, for_good });
            let failure = mailer.send(&mail()).await.unwrap_err();
            assert!(failure.class == class && failure.message.contains(says), "{failure}");
        }
        assert_eq!(mailer.ledger.times("m"), 0);
        mailer.faults.mend();
        mailer.send(&mail()).await.unwrap();
        assert_eq!(mailer.ledger.times("m"), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_frozen_worker_is_past_every_time_limit_until_another_has_sent_its_mail() {
        let mailer = Arc::new(mailer());
        mailer.faults.set_workers(Workers::FreezeNext);
        let frozen = tokio::spawn({
            let mailer = Arc::clone(&mailer);
            let limit = Duration::from_millis(1);
            async move { tokio::time::timeout(limit, mailer.send(&mail())).await }
        });
        mailer.faults.workers_are(|state| state == Workers::Frozen(1)).await;
        mailer.ledger.sent("m");
        frozen.await.unwrap().unwrap().unwrap();
        assert_eq!(mailer.faults.workers(), Workers::Running);
    }
}
