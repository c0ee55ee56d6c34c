//! What DataFusion's SQL planner asks of its surroundings: functions and type names.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, FieldRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_sql::sqlparser::ast;
use gristmill_core::FieldType;

/// The functions that an expression may call, by every name they have.
#[derive(Debug)]
pub(crate) struct Functions {
    by_name: BTreeMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

/// Functions that look beyond the values they are given.
const EXCLUDED: [&str; 3] = ["version", "input_file_name", "file_row_index"];

impl Functions {
    pub(crate) fn new() -> Self {
        let mut by_name = BTreeMap::new();
        for function in datafusion_functions::all_default_functions() {
            for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
                if !EXCLUDED.contains(&name) {
                    by_name.insert(name.to_ascii_lowercase(), Arc::clone(&function));
                }
            }
        }
        let mut options = ConfigOptions::default();
        options.execution.time_zone = Some("+00:00".to_owned());
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
        ];
        Self { by_name, planners, options }
    }

    /// The function of this lower-case name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        self.by_name.get(name)
    }

    /// Every name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("an expression cannot read the table `{name}`")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(TypeNames))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.by_name.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Type names in an expression mean what they mean in a pipeline: `int` has 64 bits, a
/// `timestamp` has microseconds.
#[derive(Debug)]
struct TypeNames;

impl TypePlanner for TypeNames {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let name = sql_type.to_string().to_ascii_lowercase();
        let field_type = match name.as_str() {
            "double precision" => FieldType::Double,
            "timestamp with time zone" => FieldType::TimestampTz,
            "timestamp without time zone" => FieldType::Timestamp,
            "json" | "jsonb" => {
                return plan_err!("an expression has no json values; use a `cast` step");
            }
            _ => match name.parse() {
                Ok(field_type) => field_type,
                Err(message) if name.starts_with("decimal") || name.starts_with("numeric") => {
                    return plan_err!("{message}");
                }
                Err(_) => return Ok(None), // the planner knows more names than pipelines declare
            },
        };
        Ok(Some(Arc::new(field_type.field(""))))
    }
}
