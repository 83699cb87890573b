//! Why events could not be published. They wait in the outbox.

use crate::broker::BrokerError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}
