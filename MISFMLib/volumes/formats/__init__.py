"""What the headers of volume files say, where ITK does not read them strictly enough.

Seen with SimpleITK 2.5.7: a shortened .nii or .nii.gz is filled up with zeros, damaged compressed
data of NRRD and MetaImage come back as other intensities, a zero voxel size in a NIfTI header
becomes 1 mm, a sheared NIfTI position is replaced by the unsheared one beside it, and the slices of
a DICOM series are stacked at equal distances wherever they were taken. So the header is looked at,
and compressed data are unpacked once (about 0.4 s for 150 MB), before ITK reads the file.
"""
