//! What the actions of publishers do.

use super::actions::Action;
use super::state::*;

/// The steps of the publishers, and the leases of the outbox.
pub fn publishing(state: &mut State, action: Action) {
    use Action::*;
    let (publisher, step) = match action {
        Lease { publisher, event } => {
            let leased = u8::try_from(event).unwrap_or(u8::MAX);
            for other in &mut state.publishers {
                if let Publisher::Leased { event, owns }
                | Publisher::Confirmed { event, owns }
                | Publisher::Unconfirmed { event, owns } = other
                    && *event == leased
                {
                    *owns = false;
                }
            }
            state.events[event].outbox = Outbox::Leased { expired: false };
            (publisher, Publisher::Leased { event: leased, owns: true })
        }
        LeaseEnds(event) => {
            if state.leaser_lives(event) {
                state.left.stalls -= 1;
            }
            state.events[event].outbox = Outbox::Leased { expired: true };
            return;
        }
        Publish(number)
        | PublishUnconfirmed(number)
        | PublishRefused(number)
        | MarkPublished(number)
        | Release(number)
        | CrashPublisher(number) => {
            let Some((event, owns)) = state.publishers[number].lease() else { return };
            let unpublished = state.events[usize::from(event)].unpublished();
            let outbox = &mut state.events[usize::from(event)].outbox;
            let message =
                Message { event, place: Place::Main, attempt: 1, recorded: false, deliveries: 0 };
            let step = match action {
                Publish(_) => Publisher::Confirmed { event, owns },
                PublishUnconfirmed(_) | PublishRefused(_) => Publisher::Unconfirmed { event, owns },
                _ => Publisher::Idle,
            };
            match action {
                MarkPublished(_) if unpublished => *outbox = Outbox::Published(state.tick),
                Release(_) if owns && unpublished => *outbox = Outbox::Waiting,
                _ => {}
            }
            match action {
                Publish(_) => state.messages.push(message),
                PublishUnconfirmed(_) => {
                    state.left.losses -= 1;
                    state.messages.push(message);
                }
                PublishRefused(_) => state.left.failures -= 1,
                CrashPublisher(_) => state.left.crashes -= 1,
                _ => {}
            }
            (number, step)
        }
        _ => return,
    };
    state.publishers[publisher] = step;
}
