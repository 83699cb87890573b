//! Has orders about webhooks carried out, where the database is.

use super::super::source::{self, SourceArgs};
use crate::config::{DataArgs, WebhookArgs};
use crate::http::routes::operator::socket::{self, OrderBy};
use crate::operate::Operator;
use crate::webhooks::orders::{DeliveryView, PingView, WebhookOrder, WebhookReport, WebhookView};

/// Where the webhooks are, and what they are sealed and reached with. A running `taskd up` has its
/// own keys and networks.
#[derive(clap::Args)]
pub(super) struct WebhookSourceArgs {
    #[command(flatten)]
    webhooks: WebhookArgs,
    #[command(flatten)]
    source: SourceArgs,
}

impl WebhookSourceArgs {
    pub(super) fn data(&self) -> &DataArgs {
        &self.source.data
    }

    /// Has an order carried out, and takes from the report what was asked for.
    async fn give<T>(
        &self,
        order: WebhookOrder,
        wanted: impl FnOnce(WebhookReport) -> Option<T>,
    ) -> anyhow::Result<T> {
        let order = OrderBy { order, by: Operator::of_command_line() };
        let carried_out = self.source.give_opened(socket::WEBHOOKS, &order, async |opened| {
            let webhooks = self.webhooks.webhooks(opened.tls, opened.data_dir)?;
            let obeyed = webhooks.obey(opened.store, order.order.clone(), &order.by).await;
            obeyed.map_err(source::refused)
        });
        wanted(carried_out.await?).ok_or_else(|| {
            anyhow::anyhow!(
                "the answer is about something else; is the running `taskd up` of another version?"
            )
        })
    }

    /// An order whose answer is one webhook.
    pub(super) async fn webhook(&self, order: WebhookOrder) -> anyhow::Result<WebhookView> {
        self.give(order, |report| match report {
            WebhookReport::Webhook(webhook) => Some(*webhook),
            _ => None,
        })
        .await
    }

    /// The webhooks of a user, or all.
    pub(super) async fn list(&self, user: Option<i64>) -> anyhow::Result<Vec<WebhookView>> {
        self.give(WebhookOrder::List { user }, |report| match report {
            WebhookReport::Webhooks(webhooks) => Some(webhooks),
            _ => None,
        })
        .await
    }

    /// Deletes a webhook.
    pub(super) async fn delete(&self, id: i64) -> anyhow::Result<()> {
        self.give(WebhookOrder::Delete { id }, |report| {
            matches!(report, WebhookReport::Deleted(_)).then_some(())
        })
        .await
    }

    /// What came of a ping.
    pub(super) async fn ping(&self, id: i64) -> anyhow::Result<PingView> {
        self.give(WebhookOrder::Ping { id }, |report| match report {
            WebhookReport::Ping(ping) => Some(ping),
            _ => None,
        })
        .await
    }

    /// An order whose answer is deliveries.
    pub(super) async fn deliveries(
        &self,
        order: WebhookOrder,
    ) -> anyhow::Result<Vec<DeliveryView>> {
        self.give(order, |report| match report {
            WebhookReport::Deliveries(deliveries) => Some(deliveries),
            _ => None,
        })
        .await
    }

    /// An order whose answer is one delivery.
    pub(super) async fn delivery(&self, order: WebhookOrder) -> anyhow::Result<DeliveryView> {
        self.give(order, |report| match report {
            WebhookReport::Delivery(delivery) => Some(*delivery),
            _ => None,
        })
        .await
    }

    /// An order whose answer is how many deliveries were ordered.
    pub(super) async fn count(&self, order: WebhookOrder) -> anyhow::Result<usize> {
        self.give(order, |report| match report {
            WebhookReport::Ordered(count) => Some(count),
            _ => None,
        })
        .await
    }

    /// Seals every secret anew. Returns how many, and the webhooks whose secret no key opens.
    pub(super) async fn rotate_key(&self) -> anyhow::Result<(usize, Vec<i64>)> {
        self.give(WebhookOrder::RotateKey, |report| match report {
            WebhookReport::Sealed(count, lost) => Some((count, lost)),
            _ => None,
        })
        .await
    }
}
