//! What the SQL planner asks of its surroundings, for a query over tables.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};

use super::functions::SetFunctions;
use super::query::Table;
use crate::expression::provider::Functions;
use crate::suggest;

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::new);

/// The functions of one record.
pub(super) fn functions() -> &'static Functions {
    &FUNCTIONS
}

/// Tables and functions.
pub(super) struct Catalog<'a> {
    tables: &'a [Table],
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl<'a> Catalog<'a> {
    pub(super) fn new(tables: &'a [Table]) -> Self {
        let mut planners = functions().get_expr_planners().to_vec();
        planners.push(Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner));
        planners.push(Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner));
        Self { tables, planners }
    }
}

/// The columns of a table.
#[derive(Debug)]
pub(super) struct Columns(pub(super) SchemaRef);

impl TableSource for Columns {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }
}

impl ContextProvider for Catalog<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.tables.iter().find(|table| table.name == name.table()) {
            Some(table) => Ok(Arc::new(Columns(Arc::clone(&table.schema)))),
            None => {
                let known: Vec<&str> = self.tables.iter().map(|table| &*table.name).collect();
                match suggest::nearest(name.table(), known.iter().copied()) {
                    Some(near) => plan_err!("no table `{name}`; did you mean `{near}`?"),
                    None => plan_err!("no table `{name}`; the tables are `{}`", known.join("`, `")),
                }
            }
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        functions().get_type_planner()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions().get_function_meta(name)
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        SetFunctions::all().aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        SetFunctions::all().window(name)
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        functions().options()
    }

    fn udf_names(&self) -> Vec<String> {
        functions().udf_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        SetFunctions::all().aggregate_names()
    }

    fn udwf_names(&self) -> Vec<String> {
        SetFunctions::all().window_names()
    }
}
