//! The Customer service.

mod api;
mod domain;
mod request;
mod service;
mod view;

pub use domain::{
    Customer, CustomerChange, CustomerCommand, CustomerDetails, CustomerEvent, CustomerRejection,
};
pub use service::CustomerService;
pub use view::CustomerView;
