// An author's tests import this module alone besides their plugin.
@_exported public import DataflowOperator
