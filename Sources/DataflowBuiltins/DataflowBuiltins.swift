public import DataflowOperator
import Explode
import FileSink
import FileSource
import GenerateSource
import HTTPSource
import JSONParse
import PgSink
import Select
import StdoutSink
import TopN
import WindowAgg

/// The plugins of the standard build: one line for each folder in `plugins/`.
public enum BuiltinPlugins {
    public static var all: [any Plugin.Type] {
        [
            ExplodePlugin.self,
            FileSinkPlugin.self,
            FileSourcePlugin.self,
            GenerateSourcePlugin.self,
            HTTPSourcePlugin.self,
            JSONParsePlugin.self,
            PgSinkPlugin.self,
            SelectPlugin.self,
            StdoutSinkPlugin.self,
            TopNPlugin.self,
            WindowAggPlugin.self,
        ]
    }
}
