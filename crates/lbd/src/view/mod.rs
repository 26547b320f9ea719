//! What people and programs see of lbd: pure functions from statistics to text.
