import DataflowBuiltins
import DataflowCLI

await DataflowCLI.main(BuiltinPlugins.all)
