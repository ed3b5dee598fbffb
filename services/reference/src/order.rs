//! The Order service.

mod api;
mod domain;
mod request;
mod service;
mod subscription;
mod view;

pub use domain::{
    CustomerWord, Order, OrderCommand, OrderDetails, OrderEvent, OrderItem, OrderRejection, OrderState,
};
pub use service::OrderService;
pub use view::{OrderStateView, OrderView};
