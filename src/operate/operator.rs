//! Who gives an order, and what is written down of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::letters::audit::{self, AuditRow, NewAudit};
use crate::store::{Connection, StoreError};

/// Who gives an order, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operator {
    /// A user, a token, or a user of the machine on which a command runs.
    pub name: String,
    /// The address of the client, or the machine.
    pub origin: Option<String>,
    /// The request, if it is one.
    pub request_id: Option<String>,
}

impl Operator {
    /// The user who runs this process, on this machine.
    pub fn of_command_line() -> Operator {
        let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        Operator {
            name: format!("{} (command line)", user.unwrap_or_else(|| "somebody".to_owned())),
            origin: Some(gethostname::gethostname().to_string_lossy().into_owned()),
            request_id: None,
        }
    }

    /// Writes down what this operator did, or would have done.
    ///
    /// # Errors
    /// The database fails.
    pub async fn audit(
        &self,
        connection: &mut Connection,
        action: &'static str,
        target: Option<String>,
        details: Value,
        dry_run: bool,
    ) -> Result<(), StoreError> {
        let Operator { name, origin, request_id } = self.clone();
        let entry = NewAudit { actor: name, action, target, details, dry_run, origin, request_id };
        audit::write(connection, &entry).await
    }
}

impl Operator {
    /// Writes down that somebody tried in vain to sign in under this name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn audit_failed_sign_in(
        self,
        connection: &mut Connection,
        name: &str,
    ) -> Result<(), StoreError> {
        let entry = NewAudit {
            actor: name.chars().take(LONGEST_NAME).collect(),
            action: "sign-in failed",
            target: None,
            details: Value::Null,
            dry_run: false,
            origin: self.origin,
            request_id: self.request_id,
        };
        if !audit::write_failed_sign_in(connection, &entry).await? {
            tracing::warn!("too many failed sign-ins to write them all down");
        }
        Ok(())
    }
}

/// How much of a name that somebody made up is kept, in characters: as long as an address may be.
const LONGEST_NAME: usize = 254;

/// An entry of the audit log, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Ascends.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: a user, a token, or a user of the machine on which a command ran.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: Option<String>,
    /// More about it.
    pub details: Value,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// From where: an address or a machine.
    pub origin: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> AuditEntry {
        let AuditRow { id, at, actor, action, target, details, dry_run, origin, request_id } = row;
        AuditEntry { id, at, actor, action, target, details, dry_run, origin, request_id }
    }
}
