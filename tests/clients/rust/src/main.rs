//! Uses a client that is made from the OpenAPI document: writes and reads a task, and makes a webhook.

#[allow(clippy::all, unused)]
mod client {
    include!(concat!(env!("OUT_DIR"), "/client.rs"));
}

use client::types::{NewWebhook, TaskInput, TaskPatch};
use client::{Client, Error};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("where taskd is")?;
    let client = Client::new(&address);
    let input: TaskInput = serde_json::from_str(r#"{ "title": "From Rust", "userId": 1 }"#)?;
    let task = client.create_task(None, &input).await?.into_inner();
    let patch: TaskPatch = serde_json::from_str(r#"{ "status": "completed" }"#)?;
    let id = task.id.try_into()?;
    let changed = client.patch_task(id, None, &patch).await?.into_inner();
    assert_eq!(changed.version.get(), 2);
    client.delete_task(id, None).await?;
    match client.get_task(id, None).await {
        Err(Error::ErrorResponse(problem)) => assert_eq!(problem.into_inner().code, "not_found"),
        other => return Err(format!("it is still there: {other:?}").into()),
    }
    let webhook: NewWebhook = serde_json::from_str(r#"{ "url": "https://example.com/hook" }"#)?;
    let made = client.create_webhook(None, &webhook).await?.into_inner();
    println!("task {} was made, changed and deleted; webhook made: {}", task.id, serde_json::to_value(&made)?["id"]);
    Ok(())
}
