//! A look into the database, past the program.

use serde_json::Value;
use tokio_postgres::NoTls;
use tokio_postgres::types::ToSql;

use super::Signer;

pub struct Db(tokio_postgres::Client);

impl Db {
    pub async fn connect(url: &str) -> Db {
        let (client, connection) = tokio_postgres::connect(url, NoTls)
            .await
            .unwrap_or_else(|error| panic!("PostgreSQL must run at TEST_DATABASE_URL: {error:?}"));
        tokio::spawn(connection);
        Db(client)
    }

    /// Statements without an answer.
    pub async fn run(&self, sql: &str) {
        self.0.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The one number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        self.number_of(sql, &[]).await
    }

    pub async fn number_of(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> i64 {
        self.0
            .query_one(sql, values)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    /// Each row of a query as JSON.
    pub async fn rows(&self, sql: &str) -> Vec<Value> {
        let sql = format!("SELECT to_jsonb(t)::text FROM ({sql}) t");
        let rows = self.0.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
    }

    /// What signs messages as this installation.
    pub async fn signer(&self) -> Signer {
        let sql = "SELECT message_key FROM installation";
        let row = self.0.query_one(sql, &[]).await.unwrap();
        Signer::new(&row.get::<_, Vec<u8>>(0))
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }
}
