//! What vrrpd shows: the admin page, metrics, and text commands, all made of [`wire::InstanceStatus`].

pub mod metrics;
pub mod page;
pub mod text;

#[cfg(test)]
mod tests;
