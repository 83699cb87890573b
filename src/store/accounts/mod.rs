//! Users, and what gives them access.

pub mod credentials;
pub mod tokens;
pub mod users;
