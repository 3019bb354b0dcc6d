// Masks and measurements of every image, and one table of all.
// nextflow run recipes/nextflow --images 'images/*.tif' --diameter 20

params.images = 'images/*.tif'
params.diameter = 0     // pixels; 0: estimated for each image
params.options = ''     // any other options of fcp-run
params.outdir = 'results'

process SEGMENT {
    tag "${image.simpleName}"
    cpus 2
    publishDir params.outdir, mode: 'copy'

    input:
    path image

    output:
    path "${image.simpleName}_masks.tif", emit: mask
    path "${image.simpleName}_table.csv", emit: table

    script:
    def diameter = params.diameter ? "--diameter ${params.diameter}" : ''
    """
    fcp-run ${image} -o ${image.simpleName}_masks.tif --table cells.csv \\
        --threads ${task.cpus} ${diameter} ${params.options}
    awk 'NR == 1 { print "image," \$0 } NR > 1 { print "${image.simpleName}," \$0 }' cells.csv \\
        > ${image.simpleName}_table.csv
    """
}

workflow {
    SEGMENT(channel.fromPath(params.images, checkIfExists: true))
    SEGMENT.out.table.collectFile(name: 'cells.csv', storeDir: params.outdir, keepHeader: true, sort: true)
}
