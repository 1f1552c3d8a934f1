"""What is written beside the label map: tables, pictures, DICOM SEG."""
