// HTTPSource
